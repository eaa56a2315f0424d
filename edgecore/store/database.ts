/**
 * The edge's one database: opened, checked, brought to the newest tables, and shared by the modules that keep
 * state. A file that is damaged never stops the edge: it is set aside, and the copy made at the last good start,
 * or an empty store, takes its place; the cloud fills in the rest at the next connect.
 */

import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Log } from '#beehive/log.ts';
import { describeError } from '#protocol/errors.ts';
import { type Sql, SqlConnection } from './connection.ts';
import { StoreError } from './errors.ts';
import { GroupCommit } from './group-commit.ts';
import { migrations } from './migrations.ts';
import { sealRows } from './sealing.ts';
import { noteLoss } from './session-store.ts';
import { plainValues, type ValueCodec } from './value-codec.ts';

/**
 * How much of what was stored is here: all of it, a part (what a copy had, or what the key still opens), or nothing, because the file was damaged (or
 * there never was one). Unless it is `whole`, that something is not stored does not mean that it is not wanted.
 */
export type Completeness = 'whole' | 'copy' | 'empty';

export interface Store {
  readonly completeness: Completeness;
  /** How values of objects are written and read; what must not lie readable on the disk is sealed by it. */
  readonly codec: ValueCodec;
  /** At once, of what is committed: a write that is not awaited is not seen. */
  read<T>(query: (sql: Sql) => T): T;
  /** Resolves when the change is on the disk. `change` runs later, synchronously, and may run SQL only. */
  write<T>(change: (sql: Sql) => T): Promise<T>;
  /** Writes that wait for the disk. */
  readonly waiting: number;
  /** Resolves when the last-good copy of this start is made, or could not be. */
  readonly copied: Promise<void>;
  close(): Promise<void>;
}

/** SQLite's own words for a file that is not, or no longer, a database. */
const damageCode = /^SQLITE_(CORRUPT|NOTADB)/;

/** @throws StoreError `newer`, and the system's error when the file cannot be made at all. */
export function openDatabase(file: string, components: { log: Log; codec?: ValueCodec }): Store {
  mkdirSync(dirname(file), { recursive: true });
  const { codec = plainValues } = components;
  const log = components.log.child({ module: 'store', file });
  const { connection, completeness: found } = openOrReplace(file, log);
  const readableCopies = [copyOf(file), ...partsOf(asideOf(file))];
  const lost = sealRows(connection, codec, { log, readableCopies });
  const completeness = found === 'whole' && lost > 0 ? 'copy' : found;
  if (completeness !== 'whole') noteLoss(connection, completeness);
  const commits = new GroupCommit(connection);
  const copied = keepCopy(connection, file).catch((error: unknown) =>
    log.warn({ reason: describeError(error) }, 'could not keep a copy of the store'),
  );
  return {
    completeness,
    codec,
    read: (query) => query(connection),
    write: (change) => commits.add(() => change(connection)),
    get waiting() {
      return commits.waiting;
    },
    copied,
    async close() {
      commits.close();
      await copied;
      connection.close();
    },
  };
}

interface Opened {
  readonly connection: SqlConnection;
  readonly completeness: Completeness;
}

function openOrReplace(file: string, log: Log): Opened {
  const isNew = !existsSync(file);
  try {
    return { connection: openChecked(file), completeness: isNew ? 'empty' : 'whole' };
  } catch (error) {
    if (!isDamage(error)) throw error;
    const aside = setAside(file);
    log.error({ aside, reason: describeError(error) }, 'the store is damaged and was set aside');
  }
  if (existsSync(copyOf(file))) {
    renameSync(copyOf(file), file);
    try {
      const connection = openChecked(file);
      log.warn({}, 'went on with the copy of the last good start; the cloud sends what is newer');
      return { connection, completeness: 'copy' };
    } catch (error) {
      if (!isDamage(error)) throw error;
      const aside = setAside(file);
      log.error({ aside, reason: describeError(error) }, 'the copy of the store is damaged too');
    }
  }
  log.warn({}, 'went on with an empty store; the cloud fills it at the next connect');
  return { connection: openChecked(file), completeness: 'empty' };
}

/** @throws StoreError `damaged`, `newer`; SQLite's own error. */
function openChecked(file: string): SqlConnection {
  // Made by us first, so that the file and its WAL are nobody else's to read.
  closeSync(openSync(file, 'a', 0o600));
  const connection = new SqlConnection(file);
  try {
    connection.pragma('journal_mode = WAL');
    connection.pragma('synchronous = FULL');
    const verdict = connection.pragma('integrity_check(1)');
    if (verdict !== 'ok') {
      throw new StoreError(`${file} is damaged: ${String(verdict)}`, {
        code: 'damaged',
        file,
        reason: String(verdict),
      });
    }
    migrate(connection, file);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

function migrate(connection: SqlConnection, file: string): void {
  const found = Number(connection.pragma('user_version'));
  const known = migrations.length;
  if (found > known) {
    throw new StoreError(
      `${file} was written by a newer version (${found}, this one knows ${known}); install that version again, or move the file away`,
      { code: 'newer', file, found, known },
    );
  }
  for (const [at, step] of [...migrations.entries()].slice(found)) {
    connection.execute(`BEGIN IMMEDIATE; ${step}; PRAGMA user_version = ${at + 1}; COMMIT`);
  }
}

function isDamage(error: unknown): boolean {
  if (error instanceof StoreError) return error.code === 'damaged';
  return error instanceof Error && 'code' in error && damageCode.test(String(error.code));
}

function copyOf(file: string): string {
  return `${file}.last-good`;
}

function asideOf(file: string): string {
  return `${file}.damaged`;
}

/** A database with its WAL and the index of that. */
function partsOf(file: string): string[] {
  return ['', '-wal', '-shm'].map((suffix) => `${file}${suffix}`);
}

/** One damaged file is kept for whoever wants to look; an older one makes room. */
function setAside(file: string): string {
  const asides = partsOf(asideOf(file));
  for (const [at, part] of partsOf(file).entries()) {
    const aside = asides[at] ?? '';
    rmSync(aside, { force: true });
    if (existsSync(part)) renameSync(part, aside);
  }
  return asideOf(file);
}

async function keepCopy(connection: SqlConnection, file: string): Promise<void> {
  const fresh = `${copyOf(file)}.new`;
  rmSync(fresh, { force: true });
  closeSync(openSync(fresh, 'a', 0o600));
  try {
    await connection.copyTo(fresh);
  } catch (error) {
    // Half a copy on a disk that is full helps nobody.
    rmSync(fresh, { force: true });
    throw error;
  }
  const handle = openSync(fresh, 'r');
  fsyncSync(handle);
  closeSync(handle);
  renameSync(fresh, copyOf(file));
}
