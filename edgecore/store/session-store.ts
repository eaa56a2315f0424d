/** The few facts that the edge remembers of its cloud between connections: table `session`. */

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
      sql.run('INSERT OR IGNORE INTO session (name, value) VALUES (?, ?)', 'epoch', epoch),
    );
  }
}
