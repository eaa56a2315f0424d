/**
 * Writes that are asked for in one turn of the event loop share one transaction, and so one fsync. Each is a
 * savepoint of its own: one that throws takes back only itself. A promise resolves once the transaction is on
 * the disk, so whoever awaits it may acknowledge.
 */

import type { SqlConnection } from './connection.ts';
import { StoreError } from './errors.ts';

interface Waiting {
  readonly work: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

const waitingMax = 10_000;
const batchMax = 1_000;

export class GroupCommit {
  readonly #connection: SqlConnection;
  #waiting: Waiting[] = [];
  #scheduled = false;
  #closed = false;

  constructor(connection: SqlConnection) {
    this.#connection = connection;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** @throws StoreError `full`, `closed`, `not-committed`, and whatever `work` throws. */
  add<T>(work: () => T): Promise<T> {
    if (this.#closed) return Promise.reject(new StoreError('the store is closed', { code: 'closed' }));
    const waiting = this.#waiting.length;
    if (waiting >= waitingMax) {
      const detail = { code: 'full', waiting, limit: waitingMax } as const;
      return Promise.reject(
        new StoreError('too many writes wait for the disk', detail, { retry: 'backoff' }),
      );
    }
    return new Promise<T>((resolve, reject) => {
      // The value that is resolved is the one `work` returned, so the cast only undoes the list's forgetting.
      this.#waiting.push({ work, resolve: (value) => resolve(value as T), reject });
      this.#schedule();
    });
  }

  /** Commits what waits, then refuses. */
  close(): void {
    while (this.#waiting.length > 0) this.#commit();
    this.#closed = true;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#commit();
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  #commit(): void {
    const batch = this.#waiting.splice(0, batchMax);
    if (batch.length === 0) return;
    const outcomes: (() => void)[] = [];
    try {
      this.#connection.run('BEGIN IMMEDIATE');
      for (const one of batch) outcomes.push(this.#attempt(one));
      this.#connection.run('COMMIT');
    } catch (error) {
      if (this.#connection.inTransaction) this.#connection.run('ROLLBACK');
      const sqlite = error instanceof Error ? error.message : String(error);
      const refused = new StoreError(
        `could not write to the store (${sqlite}); is the disk full or read-only?`,
        { code: 'not-committed', sqlite },
        { retry: 'backoff', cause: error },
      );
      for (const one of batch) one.reject(refused);
      return;
    }
    for (const tell of outcomes) tell();
  }

  /** @throws when the transaction as a whole is lost, e.g. the disk is full. */
  #attempt(one: Waiting): () => void {
    this.#connection.run('SAVEPOINT one');
    try {
      const value = one.work();
      this.#connection.run('RELEASE one');
      return () => one.resolve(value);
    } catch (error) {
      if (!this.#connection.inTransaction) throw error;
      this.#connection.run('ROLLBACK TO one');
      this.#connection.run('RELEASE one');
      return () => one.reject(error);
    }
  }
}
