/**
 * What the edge keeps of the cloud's objects: table `meta`, one row per message resource, with the uid and
 * version of the object it is a copy of. Every value goes in and out through the codec, so what must not lie
 * readable on the disk is sealed in one place.
 */

import type { Log } from '#beehive/log.ts';
import { describeError } from '#protocol/errors.ts';
import type { HeldObject } from '#protocol/session.ts';
import type { Sql } from './connection.ts';
import type { Store } from './database.ts';
import type { ValueCodec } from './value-codec.ts';

export interface MetaRow {
  /** The message resource: `default/pod/web`, `null/node/edge-1`. */
  readonly key: string;
  /** Its middle segment. */
  readonly type: string;
  readonly value: unknown;
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
}

interface StoredRow {
  readonly key: string;
  readonly type: string;
  readonly value: string;
  readonly uid: string | null;
  readonly resource_version: string | null;
}

const columns = 'key, type, value, uid, resource_version';

/** Types of rows that are no copies of objects: patches and answers that KubeEdge keeps beside them. */
const notHeld: ReadonlySet<string> = new Set([
  'serviceaccounttoken',
  'podpatch',
  'podstatus',
  'nodepatch',
  'nodestatus',
  'lease',
  'event',
  'certificatesigningrequest',
]);

/** The rows, inside one read or one transaction. */
export class MetaRows {
  readonly #sql: Sql;
  readonly #codec: ValueCodec;
  readonly #log: Log;

  constructor(sql: Sql, codec: ValueCodec, log: Log) {
    this.#sql = sql;
    this.#codec = codec;
    this.#log = log;
  }

  get(key: string): MetaRow | undefined {
    const row = this.#sql.get<StoredRow>(`SELECT ${columns} FROM meta WHERE key = ?`, key);
    return row === undefined ? undefined : this.#open(row);
  }

  /** In the order of their keys; of all namespaces when none is named. */
  list(type: string, namespace?: string): MetaRow[] {
    const rows =
      namespace === undefined
        ? this.#sql.all<StoredRow>(`SELECT ${columns} FROM meta WHERE type = ? ORDER BY key`, type)
        : this.#sql.all<StoredRow>(
            `SELECT ${columns} FROM meta WHERE type = ? AND key >= ? AND key < ? ORDER BY key`,
            type,
            `${namespace}/${type}/`,
            `${namespace}/${type}0`,
          );
    return rows.flatMap((row) => this.#open(row) ?? []);
  }

  put(row: MetaRow): void {
    this.#sql.run(
      `INSERT INTO meta (${columns}) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (key) DO UPDATE SET type = excluded.type, value = excluded.value,
         uid = excluded.uid, resource_version = excluded.resource_version`,
      row.key,
      row.type,
      this.#codec.encode(row, row.value),
      row.uid ?? null,
      row.resourceVersion ?? null,
    );
  }

  delete(key: string): boolean {
    return this.#sql.run('DELETE FROM meta WHERE key = ?', key) > 0;
  }

  /** Rows of a type that were kept for the object of this uid. */
  deleteByUid(type: string, uid: string): number {
    return this.#sql.run('DELETE FROM meta WHERE type = ? AND uid = ?', type, uid);
  }

  /** Every object of which this edge has a copy. */
  held(): HeldObject[] {
    const rows = this.#sql.all<Omit<StoredRow, 'value'>>(
      'SELECT key, type, uid, resource_version FROM meta ORDER BY key',
    );
    return rows.flatMap((row) => {
      if (notHeld.has(row.type)) return [];
      const from = row.uid === null ? this.get(row.key) : undefined;
      const uid = row.uid ?? from?.uid;
      if (uid === undefined) return [];
      return [{ path: row.key, uid, resourceVersion: row.resource_version ?? from?.resourceVersion ?? '' }];
    });
  }

  /** A row that cannot be read is as good as absent: the cloud sends it again. */
  #open(row: StoredRow): MetaRow | undefined {
    try {
      const value = this.#codec.decode(row, row.value);
      return {
        key: row.key,
        type: row.type,
        value,
        uid: row.uid ?? metadataText(value, 'uid'),
        resourceVersion: row.resource_version ?? metadataText(value, 'resourceVersion'),
      };
    } catch (error) {
      this.#log.error({ row: row.key, reason: describeError(error) }, 'a stored object cannot be read');
      return undefined;
    }
  }
}

export class MetaStore {
  readonly #store: Store;
  readonly #log: Log;

  constructor(store: Store, components: { log: Log }) {
    this.#store = store;
    this.#log = components.log.child({ module: 'metastore' });
  }

  read<T>(query: (rows: MetaRows) => T): T {
    return this.#store.read((sql) => query(this.#rows(sql)));
  }

  /** Resolves after the commit. */
  write<T>(change: (rows: MetaRows) => T): Promise<T> {
    return this.#store.write((sql) => change(this.#rows(sql)));
  }

  #rows(sql: Sql): MetaRows {
    return new MetaRows(sql, this.#store.codec, this.#log);
  }
}

/** KubeEdge's rows have no columns for these; its values have them where every object has them. */
function metadataText(value: unknown, name: 'uid' | 'resourceVersion'): string | undefined {
  if (typeof value !== 'object' || value === null || !('metadata' in value)) return undefined;
  const metadata = value.metadata;
  if (typeof metadata !== 'object' || metadata === null) return undefined;
  const text: unknown = Reflect.get(metadata, name);
  return typeof text === 'string' ? text : undefined;
}
