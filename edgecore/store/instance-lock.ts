/**
 * One edgecore per data directory: two would run every pod twice. The lock is the system's own on a SQLite file
 * beside the database, so it goes with the process, however that ends.
 */

import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { SqlConnection } from './connection.ts';
import { StoreError } from './errors.ts';

/** The one before may still be draining. */
const waitMs = 5_000;

/** @throws StoreError `in-use` */
export function lockInstance(database: string): { release(): void } {
  mkdirSync(dirname(database), { recursive: true });
  const file = `${database}.lock`;
  closeSync(openSync(file, 'a', 0o600));
  const connection = new SqlConnection(file, waitMs);
  try {
    connection.execute('BEGIN EXCLUSIVE');
  } catch (error) {
    connection.close();
    if (!(error instanceof Error && 'code' in error && error.code === 'SQLITE_BUSY')) throw error;
    throw new StoreError(
      `another edgecore uses ${database}; stop it first, or give this one a directory of its own (keadm join --data-dir)`,
      { code: 'in-use', file },
      { cause: error },
    );
  }
  return { release: () => connection.close() };
}
