/** One SQLite connection behind what we use of it: bound parameters only, each statement prepared once. */

import Database from 'better-sqlite3';

export type SqlValue = string | number | bigint | null | Uint8Array;

/** Rows are typed by who asks: they come from tables that only this program writes. */
export interface Sql {
  all<Row>(sql: string, ...params: readonly SqlValue[]): Row[];
  get<Row>(sql: string, ...params: readonly SqlValue[]): Row | undefined;
  /** The number of rows changed. */
  run(sql: string, ...params: readonly SqlValue[]): number;
}

const busyTimeoutMs = 5_000;
/** Statements are constants of the program; the limit only says so. */
const statementsMax = 500;

export class SqlConnection implements Sql {
  readonly #database: Database.Database;
  readonly #statements = new Map<string, Database.Statement<SqlValue[]>>();

  constructor(file: string, timeoutMs = busyTimeoutMs) {
    this.#database = new Database(file, { timeout: timeoutMs });
  }

  get inTransaction(): boolean {
    return this.#database.inTransaction;
  }

  all<Row>(sql: string, ...params: readonly SqlValue[]): Row[] {
    return this.#prepare(sql).all(...params) as Row[];
  }

  get<Row>(sql: string, ...params: readonly SqlValue[]): Row | undefined {
    return this.#prepare(sql).get(...params) as Row | undefined;
  }

  run(sql: string, ...params: readonly SqlValue[]): number {
    return this.#prepare(sql).run(...params).changes;
  }

  /** One or more statements without parameters or results. */
  execute(sql: string): void {
    this.#database.exec(sql);
  }

  pragma(text: string): unknown {
    return this.#database.pragma(text, { simple: true });
  }

  /** A consistent copy, made beside running reads and writes. */
  async copyTo(file: string): Promise<void> {
    await this.#database.backup(file);
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }

  #prepare(sql: string): Database.Statement<SqlValue[]> {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    if (this.#statements.size >= statementsMax) this.#statements.clear();
    const statement = this.#database.prepare<SqlValue[]>(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}
