/** The few facts that the edge remembers of its cloud between connections: table `session`. */

import type { Sql } from './connection.ts';
import type { Store } from './database.ts';

export class SessionStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** The epoch of the API that the stored objects come from; undefined before the first connection. */
  epoch(): string | undefined {
    return this.#store.read((sql) =>
      sql.get<{ value: string }>('SELECT value FROM session WHERE name = ?', 'epoch'),
    )?.value;
  }

  async adoptEpoch(epoch: string): Promise<void> {
    await this.#store.write((sql) =>
      sql.run('INSERT OR REPLACE INTO session (name, value) VALUES (?, ?)', 'epoch', epoch),
    );
  }

  /**
   * Whether what is stored is all there was. After a loss it is not, over any restart, until the cloud has filled it
   * again: that something is not stored does not mean then that it is not wanted.
   */
  isWhole(): boolean {
    return this.#store.read((sql) => sql.get('SELECT 1 FROM session WHERE name = ?', lostName)) === undefined;
  }

  async becameWhole(): Promise<void> {
    await this.#store.write((sql) => sql.run('DELETE FROM session WHERE name = ?', lostName));
  }
}

const lostName = 'lost';

/** Written before anything else is done with a store that is not whole. */
export function noteLoss(sql: Sql, completeness: string): void {
  sql.run('INSERT OR REPLACE INTO session (name, value) VALUES (?, ?)', lostName, completeness);
}
