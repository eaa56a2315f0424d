/**
 * The store: present objects in memory, every change a row of the log.
 *
 * 1. `put` and `remove` change memory at once and join the open transaction; the promise they return resolves
 *    after the commit. All writes of one turn of the event loop share one commit (and one fsync).
 * 2. When the commit fails, the writes of that transaction are undone in memory and their promises reject.
 * 3. Watches hear of a change only after its commit. Whoever answers a read to the outside waits for `settled`
 *    first, so that nothing leaves the process that a crash could take back.
 * 4. `compact` removes superseded rows; lists and watches from before what it removed fail with CompactedError.
 */

import type Database from 'better-sqlite3';
import type { Clock } from '#beehive/clock.ts';
import { HawserError } from '#protocol/errors.ts';
import { freezeJson, type KubeObject } from '../kube-object.ts';
import { limits } from '../limits.ts';
import { openDatabase } from './database.ts';
import { RecentChanges } from './recent-changes.ts';

export interface Entry {
  readonly storage: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly revision: number;
  readonly object: KubeObject;
}

export interface Change {
  readonly revision: number;
  readonly deleted: boolean;
  readonly entry: Entry;
  /** What was there before; its absence makes the change an addition. */
  readonly previous: Entry | undefined;
}

export interface Page {
  readonly entries: readonly Entry[];
  /** More entries follow the last one. */
  readonly more: boolean;
}

export class CompactedError extends HawserError<{ code: 'compacted'; revision: number; oldest: number }> {
  constructor(revision: number, oldest: number) {
    super(`too old resource version: ${revision} (${oldest})`, { code: 'compacted', revision, oldest });
  }
}

export class StoreError extends HawserError<
  { code: 'commit-failed' } | { code: 'too-large'; bytes: number } | { code: 'closed' }
> {}

interface LogRow {
  revision: number;
  storage: string;
  namespace: string;
  name: string;
  uid: string;
  deleted: number;
  previous: number | null;
  object: string;
}

interface Pending {
  readonly change: Change;
  /** Of its object's JSON. */
  readonly characters: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

function objectKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

const insertSql = `INSERT INTO log (revision, storage, namespace, name, uid, deleted, previous, at_ms, object)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const setHeadSql = `INSERT INTO head (storage, namespace, name, revision) VALUES (?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET revision = excluded.revision`;

export class LogStore {
  readonly #database: Database.Database;
  readonly #clock: Clock;
  readonly #tables = new Map<string, Map<string, Entry>>();
  readonly #recent = new Map<string, RecentChanges<Change>>();
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #anyListeners = new Set<() => void>();
  readonly #insert: Database.Statement;
  readonly #setHead: Database.Statement;
  readonly #dropHead: Database.Statement;
  #pending: Pending[] = [];
  #settled: Promise<void> = Promise.resolve();
  #revision: number;
  #committed: number;
  #compacted: number;
  /** Changes up to here are only in the file. */
  #loadedAt = 0;
  #closed = false;

  constructor(file: string, clock: Clock) {
    this.#clock = clock;
    this.#database = openDatabase(file);
    this.#insert = this.#database.prepare(insertSql);
    this.#setHead = this.#database.prepare(setHeadSql);
    this.#dropHead = this.#database.prepare(
      'DELETE FROM head WHERE storage = ? AND namespace = ? AND name = ?',
    );
    const sequence = this.#database
      .prepare<[], { seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'log'")
      .get();
    this.#revision = sequence?.seq ?? 0;
    this.#committed = this.#revision;
    this.#compacted = this.#fact('compacted') ?? 0;
    this.#load();
  }

  /** The newest durable revision. */
  get revision(): number {
    return this.#committed;
  }

  /** Resolves when every write made so far is durable or undone. */
  settled(): Promise<void> {
    return this.#settled;
  }

  get(storage: string, namespace: string, name: string): Entry | undefined {
    return this.#tables.get(storage)?.get(objectKey(namespace, name));
  }

  /** The present entries, of one namespace or (undefined) of all, in no particular order. */
  entries(storage: string, namespace?: string): Entry[] {
    const table = this.#tables.get(storage);
    if (table === undefined) return [];
    const all = [...table.values()];
    return namespace === undefined ? all : all.filter((entry) => entry.namespace === namespace);
  }

  /** The storages that hold objects now. */
  storages(): readonly string[] {
    return [...this.#tables].filter(([, table]) => table.size > 0).map(([storage]) => storage);
  }

  /** A page of what was there at `revision`, by namespace and name, after the object `after`. */
  entriesAt(
    storage: string,
    revision: number,
    options: {
      namespace?: string | undefined;
      after?: { namespace: string; name: string } | undefined;
      limit: number;
    },
  ): Page {
    this.#checkHistory(revision);
    const { namespace = null, after, limit } = options;
    const rows = this.#database
      .prepare<unknown[], LogRow>(
        `SELECT * FROM log JOIN (
           SELECT max(revision) AS latest FROM log
           WHERE storage = @storage AND revision <= @revision
             AND (@namespace IS NULL OR namespace = @namespace)
             AND (namespace, name) > (@afterNamespace, @afterName)
           GROUP BY namespace, name
         ) ON revision = latest
         WHERE deleted = 0 ORDER BY namespace, name LIMIT @limit`,
      )
      .all({
        storage,
        revision,
        namespace,
        afterNamespace: after?.namespace ?? '',
        afterName: after?.name ?? '',
        limit: limit + 1,
      });
    return { entries: rows.slice(0, limit).map(toEntry), more: rows.length > limit };
  }

  /**
   * Writes the object that `build` makes for its revision. The caller has checked, in this same turn, that what
   * is there now may be replaced.
   */
  put(
    storage: string,
    namespace: string,
    build: (revision: number) => KubeObject,
  ): { entry: Entry; durable: Promise<void> } {
    const revision = this.#revision + 1;
    const object = freezeJson(build(revision));
    const entry: Entry = {
      storage,
      namespace,
      name: object.metadata.name,
      uid: object.metadata.uid ?? '',
      revision,
      object,
    };
    return { entry, durable: this.#append(entry, false) };
  }

  /** Removes the object; `build` makes its last form, for those who watch. Absent: nothing happens. */
  remove(
    storage: string,
    namespace: string,
    name: string,
    build: (last: KubeObject, revision: number) => KubeObject,
  ): Promise<void> {
    const last = this.get(storage, namespace, name);
    if (last === undefined) return this.#settled;
    const revision = this.#revision + 1;
    return this.#append({ ...last, revision, object: freezeJson(build(last.object, revision)) }, true);
  }

  /** Up to `limit` changes after a revision, oldest first. @throws CompactedError */
  changesAfter(storage: string, revision: number, limit: number): readonly Change[] {
    const recent = this.#recent.get(storage);
    if (recent !== undefined && revision >= recent.floor) return recent.after(revision, limit);
    if (recent === undefined && revision >= this.#loadedAt) return [];
    this.#checkHistory(revision);
    const rows = this.#database
      .prepare<unknown[], LogRow>(
        'SELECT * FROM log WHERE storage = ? AND revision > ? AND revision <= ? ORDER BY revision LIMIT ?',
      )
      .iterate(storage, revision, this.#committed, limit);
    const taken: LogRow[] = [];
    let characters = 0;
    for (const row of rows) {
      characters += row.object.length;
      if (taken.length > 0 && characters > limits.recentEventBytes) break;
      taken.push(row);
    }
    return taken.map((row) => this.#toChange(row));
  }

  /** Calls back after each commit that changed the storage. Returns how to stop. */
  onChange(storage: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(storage) ?? new Set();
    this.#listeners.set(storage, listeners.add(listener));
    return () => {
      listeners.delete(listener);
    };
  }

  /** Calls back after each commit. Returns how to stop. */
  onAnyChange(listener: () => void): () => void {
    this.#anyListeners.add(listener);
    return () => {
      this.#anyListeners.delete(listener);
    };
  }

  /** Removes superseded rows by age and number. Returns how many went. */
  compact(): number {
    this.#commit();
    const oldest = this.#clock.now() - limits.historyMs;
    const byAge =
      this.#number('SELECT revision AS n FROM log WHERE at_ms < ? ORDER BY revision DESC LIMIT 1', oldest) ??
      0;
    const byRows =
      this.#number(
        'SELECT revision AS n FROM log WHERE revision NOT IN (SELECT revision FROM head) ORDER BY revision DESC LIMIT 1 OFFSET ?',
        limits.historyRows,
      ) ?? 0;
    const upTo = Math.max(byAge, byRows);
    return upTo <= this.#compacted ? 0 : this.compactTo(upTo);
  }

  /** Removes what was superseded at or before a revision. */
  compactTo(revision: number): number {
    this.#commit();
    const upTo = Math.min(revision, this.#committed);
    const run = this.#database.transaction(() => {
      // A row superseded later than `upTo` is still the state at `upTo` and must stay for lists at it.
      const { changes } = this.#database
        .prepare(
          `DELETE FROM log WHERE revision <= @upTo AND (deleted = 1 OR EXISTS (
             SELECT 1 FROM log AS newer WHERE newer.storage = log.storage AND newer.namespace = log.namespace
               AND newer.name = log.name AND newer.revision > log.revision AND newer.revision <= @upTo))`,
        )
        .run({ upTo });
      this.#database
        .prepare("INSERT INTO fact VALUES ('compacted', ?) ON CONFLICT DO UPDATE SET value = excluded.value")
        .run(upTo);
      return changes;
    });
    const changes = run();
    this.#compacted = upTo;
    for (const recent of this.#recent.values()) recent.forget(upTo);
    return changes;
  }

  /** Commits what is open and closes the file. */
  close(): void {
    if (this.#closed) return;
    this.#commit();
    this.#closed = true;
    this.#database.close();
  }

  #append(entry: Entry, deleted: boolean): Promise<void> {
    if (this.#closed) return Promise.reject(new StoreError('the store is closed', { code: 'closed' }));
    const previous = this.get(entry.storage, entry.namespace, entry.name);
    const text = JSON.stringify(entry.object);
    if (text.length > limits.objectBytes) {
      const message = `the object has ${text.length} characters; ${limits.objectBytes} are allowed`;
      throw new StoreError(message, { code: 'too-large', bytes: text.length });
    }
    const first = this.#pending.length === 0;
    if (first) this.#database.exec('BEGIN IMMEDIATE');
    const { storage, namespace, name, uid, revision } = entry;
    try {
      this.#insert.run(
        revision,
        storage,
        namespace,
        name,
        uid,
        deleted ? 1 : 0,
        previous?.revision ?? null,
        this.#clock.now(),
        text,
      );
      if (deleted) this.#dropHead.run(storage, namespace, name);
      else this.#setHead.run(storage, namespace, name, revision);
    } catch (error) {
      this.#undo(
        new StoreError(
          'the change could not be written',
          { code: 'commit-failed' },
          { cause: error, retry: 'backoff' },
        ),
      );
      throw new StoreError(
        'the change could not be written',
        { code: 'commit-failed' },
        { cause: error, retry: 'backoff' },
      );
    }
    this.#revision = revision;
    this.#apply(entry, deleted);
    const durable = new Promise<void>((resolve, reject) => {
      const change = { revision, deleted, entry, previous };
      this.#pending.push({ change, characters: text.length, resolve, reject });
    });
    if (first) {
      setImmediate(() => this.#commit());
      this.#settled = durable.catch(() => {});
    }
    return durable;
  }

  #commit(): void {
    if (this.#pending.length === 0) return;
    try {
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#undo(
        new StoreError(
          'the change could not be made durable',
          { code: 'commit-failed' },
          { cause: error, retry: 'backoff' },
        ),
      );
      return;
    }
    const done = this.#pending;
    this.#pending = [];
    this.#committed = this.#revision;
    const storages = new Set<string>();
    for (const { change, characters, resolve } of done) {
      this.#remember(change, characters);
      storages.add(change.entry.storage);
      resolve();
    }
    for (const storage of storages) {
      for (const listener of [...(this.#listeners.get(storage) ?? [])]) listener();
    }
    for (const listener of [...this.#anyListeners]) listener();
  }

  /** Takes back the open transaction, in the file and in memory. */
  #undo(error: StoreError): void {
    if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
    const undone = this.#pending;
    this.#pending = [];
    this.#revision = this.#committed;
    for (const { change, reject } of undone.reverse()) {
      if (change.previous === undefined) this.#apply(change.entry, true);
      else this.#apply(change.previous, false);
      reject(error);
    }
  }

  #apply(entry: Entry, deleted: boolean): void {
    const table = this.#tables.get(entry.storage) ?? new Map<string, Entry>();
    this.#tables.set(entry.storage, table);
    const key = objectKey(entry.namespace, entry.name);
    if (deleted) table.delete(key);
    else table.set(key, entry);
  }

  #remember(change: Change, characters: number): void {
    const { storage } = change.entry;
    const recent = this.#recent.get(storage) ?? new RecentChanges<Change>(this.#loadedAt);
    this.#recent.set(storage, recent);
    recent.add(change, characters);
  }

  #load(): void {
    const rows = this.#database
      .prepare<[], LogRow>('SELECT log.* FROM head JOIN log ON log.revision = head.revision')
      .iterate();
    for (const row of rows) this.#apply(toEntry(row), false);
    this.#loadedAt = this.#committed;
  }

  #toChange(row: LogRow): Change {
    const previous =
      row.previous === null
        ? undefined
        : this.#database.prepare<[number], LogRow>('SELECT * FROM log WHERE revision = ?').get(row.previous);
    return {
      revision: row.revision,
      deleted: row.deleted === 1,
      entry: toEntry(row),
      previous: previous === undefined ? undefined : toEntry(previous),
    };
  }

  #checkHistory(revision: number): void {
    if (revision < this.#compacted) throw new CompactedError(revision, this.#compacted);
  }

  #fact(name: string): number | undefined {
    return this.#database
      .prepare<[string], { value: number }>('SELECT value FROM fact WHERE name = ?')
      .get(name)?.value;
  }

  #number(sql: string, ...values: number[]): number | undefined {
    return this.#database.prepare<number[], { n: number | null }>(sql).get(...values)?.n ?? undefined;
  }
}

function toEntry(row: LogRow): Entry {
  const { storage, namespace, name, uid, revision } = row;
  // The log holds only what `put` serialised.
  return {
    storage,
    namespace,
    name,
    uid,
    revision,
    object: freezeJson(JSON.parse(row.object) as KubeObject),
  };
}
