/**
 * At start: rows that must be sealed and are not (an older version wrote them, or KubeEdge) are sealed now, and
 * the pages and copies in which they lay readable are cleared; rows that the key does not open are dropped.
 */

import { rmSync } from 'node:fs';
import type { Log } from '#beehive/log.ts';
import type { SqlConnection } from './connection.ts';
import { StoreError } from './errors.ts';
import { outboxRowName, type ValueCodec } from './value-codec.ts';

interface Row {
  readonly key: string;
  readonly type: string;
  readonly value: string;
}

/** @returns how many rows were dropped. */
export function sealRows(
  connection: SqlConnection,
  codec: ValueCodec,
  { log, readableCopies }: { log: Log; readableCopies: readonly string[] },
): number {
  if (codec.sealedTypes.length === 0) return 0;
  const list = codec.sealedTypes.map(() => '?').join(', ');
  const rows = connection.all<Row>(
    `SELECT key, type, value FROM meta WHERE type IN (${list})`,
    ...codec.sealedTypes,
  );
  connection.execute('BEGIN IMMEDIATE');
  let readable = forgetForeignCache(connection);
  let lost = 0;
  for (const row of rows) {
    if (codec.isSealed(row.value)) {
      if (opens(codec, row)) continue;
      connection.run('DELETE FROM meta WHERE key = ?', row.key);
      lost += 1;
    } else {
      readable += 1;
      sealRow(connection, codec, row);
    }
  }
  readable += sealOutbox(connection, codec);
  connection.execute('COMMIT');
  if (readable > 0) {
    connection.execute('VACUUM');
    connection.pragma('wal_checkpoint(TRUNCATE)');
    for (const file of readableCopies) rmSync(file, { force: true });
    log.info({ rows: readable }, 'what was stored readable is sealed now');
  }
  if (lost > 0) {
    log.warn(
      { rows: lost },
      'the key of sealed values is another than they were sealed with: stored secrets and devices were dropped; the cloud sends them again at the next connect',
    );
  }
  return lost;
}

const outboxRowsAtOnce = 100;

/** Those that the key does not open are dropped when it is their turn, like others that cannot be read. */
function sealOutbox(connection: SqlConnection, codec: ValueCodec): number {
  let sealed = 0;
  for (;;) {
    const rows = connection.all<{ id: number; envelope: string }>(
      'SELECT id, envelope FROM outbox WHERE sealed = 0 ORDER BY id LIMIT ?',
      outboxRowsAtOnce,
    );
    if (rows.length === 0) return sealed;
    for (const { id, envelope } of rows) {
      const value = parsedOrUndefined(envelope);
      if (value === undefined) connection.run('DELETE FROM outbox WHERE id = ?', id);
      else {
        const text = codec.encode(outboxRowName(id), value);
        const update = 'UPDATE outbox SET envelope = ?, bytes = ?, sealed = 1 WHERE id = ?';
        connection.run(update, text, Buffer.byteLength(text), id);
      }
    }
    sealed += rows.length;
  }
}

/** KubeEdge's MetaServer keeps whole objects in this table; what we keep ourselves stands in `meta`. */
function forgetForeignCache(connection: SqlConnection): number {
  return connection.run(
    "DELETE FROM meta_v2 WHERE group_version_resource LIKE '%secrets%' OR group_version_resource LIKE '%devices%'",
  );
}

function opens(codec: ValueCodec, row: Row): boolean {
  try {
    codec.decode(row, row.value);
    return true;
  } catch (error) {
    if (error instanceof StoreError && error.code === 'unsealable') return false;
    throw error;
  }
}

/** A value that is not even JSON is of no use to anybody. */
function sealRow(connection: SqlConnection, codec: ValueCodec, row: Row): void {
  const value = parsedOrUndefined(row.value);
  if (value === undefined) connection.run('DELETE FROM meta WHERE key = ?', row.key);
  else connection.run('UPDATE meta SET value = ? WHERE key = ?', codec.encode(row, value), row.key);
}

function parsedOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
