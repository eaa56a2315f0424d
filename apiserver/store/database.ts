/**
 * The SQLite file: one append-only log, whose row number is the resourceVersion, and the index from each object
 * to its latest row. Tables and pragmas only; what a row means is for `log-store.ts`.
 */

import { closeSync, openSync } from 'node:fs';
import Database from 'better-sqlite3';
import { UnrecoverableError } from '#beehive/errors.ts';

const schema = `
CREATE TABLE IF NOT EXISTS log (
  revision  INTEGER PRIMARY KEY AUTOINCREMENT,
  storage   TEXT NOT NULL,
  namespace TEXT NOT NULL,
  name      TEXT NOT NULL,
  uid       TEXT NOT NULL,
  deleted   INTEGER NOT NULL,
  previous  INTEGER,
  at_ms     INTEGER NOT NULL,
  object    TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS log_by_object ON log (storage, namespace, name, revision);
CREATE INDEX IF NOT EXISTS log_by_storage ON log (storage, revision);
CREATE TABLE IF NOT EXISTS head (
  storage   TEXT NOT NULL,
  namespace TEXT NOT NULL,
  name      TEXT NOT NULL,
  revision  INTEGER NOT NULL,
  PRIMARY KEY (storage, namespace, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fact (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;

const schemaVersion = 1;

export function openDatabase(file: string): Database.Database {
  let database: Database.Database;
  try {
    // Made here so that it is private from its first moment; SQLite gives its WAL the same mode.
    closeSync(openSync(file, 'a', 0o600));
    database = new Database(file);
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.pragma('busy_timeout = 5000');
    database.pragma('locking_mode = EXCLUSIVE');
    const found = Number(database.pragma('user_version', { simple: true }));
    if (found > schemaVersion) {
      throw new UnrecoverableError(
        `database ${file} was written by a newer version (schema ${found}, known ${schemaVersion}); start that version, or move the file away to begin empty`,
      );
    }
    database.exec(schema);
    database.pragma(`user_version = ${schemaVersion}`);
  } catch (error) {
    if (error instanceof UnrecoverableError) throw error;
    const busy = error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY');
    throw new UnrecoverableError(
      busy
        ? `database ${file} is in use by another process; stop the API server that runs on this data directory first`
        : `database ${file} cannot be opened; restore it from a copy, or move it away to begin empty`,
      { cause: error },
    );
  }
  return database;
}
