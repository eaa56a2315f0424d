/**
 * What the edge has to tell in full, numbered, until the cloud has it: table outbox. Nothing is thrown away for
 * being old: when there is no room, the newest is refused, and who says it is told so. Applications write these
 * messages, and may write a secret into one, so they are sealed like one.
 */

import type { Log } from '#beehive/log.ts';
import { type Envelope, envelopeSchema } from '#protocol/message.ts';
import type { Store } from './database.ts';
import { StoreError } from './errors.ts';
import { outboxRowName } from './value-codec.ts';

/** As they lie on the disk: a month of a small edge without its cloud, and bearable on a card of some gigabytes. */
export const outboxBytesMax = 256 * 1024 * 1024;
/** What uploads of MQTT clients leave free, so that the edge's own events have room beside them. */
const reservedBytes = 16 * 1024 * 1024;
/** Read at once: uploads may have a megabyte each. */
const batchBytesMax = 4 * 1024 * 1024;

/** Each is sent in order, and waits for no other. */
export const outboxLanes = ['events', 'uploads'] as const;
export type OutboxLane = (typeof outboxLanes)[number];

export interface Outgoing {
  readonly id: number;
  readonly envelope: Envelope;
}

export class OutboxStore {
  readonly #store: Store;
  readonly #log: Log;
  readonly #bytesMax: number;
  #bytes: number;
  #nextId: number;

  constructor(store: Store, { log }: { log: Log }, bytesMax = outboxBytesMax) {
    this.#store = store;
    this.#log = log;
    this.#bytesMax = bytesMax;
    const sum = 'SELECT COALESCE(SUM(bytes), 0) AS bytes FROM outbox';
    this.#bytes = store.read((sql) => sql.get<{ bytes: number }>(sum))?.bytes ?? 0;
    const last = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'";
    this.#nextId = (store.read((sql) => sql.get<{ seq: number }>(last))?.seq ?? 0) + 1;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Resolves when it is on the disk; `full`: it is not, and nothing changed. */
  async append(envelope: Envelope, lane: OutboxLane = 'events'): Promise<'kept' | 'full'> {
    const id = this.#nextId;
    const { codec } = this.#store;
    const text = codec.encode(outboxRowName(id), envelope);
    const sealed = codec.isSealed(text) ? 1 : 0;
    const bytes = Buffer.byteLength(text);
    const bytesMax = lane === 'events' ? this.#bytesMax : this.#bytesMax - reservedBytes;
    if (this.#bytes + bytes > bytesMax) return 'full';
    this.#nextId += 1;
    this.#bytes += bytes;
    try {
      await this.#store.write((sql) =>
        sql.run(
          'INSERT INTO outbox (id, bytes, envelope, sealed, lane) VALUES (?, ?, ?, ?, ?)',
          id,
          bytes,
          text,
          sealed,
          lane,
        ),
      );
      return 'kept';
    } catch (error) {
      this.#bytes -= bytes;
      throw error;
    }
  }

  /** The oldest ones, in order; what cannot be read any more is dropped, so that it holds up nothing. */
  async first(count: number, lane: OutboxLane = 'events'): Promise<Outgoing[]> {
    const rows = this.#store.read((sql) => {
      const found = sql.all<{ id: number; bytes: number }>(
        'SELECT id, bytes FROM outbox WHERE lane = ? ORDER BY id LIMIT ?',
        lane,
        count,
      );
      const lastId = found[fitting(found)]?.id ?? 0;
      return sql.all<{ id: number; envelope: string }>(
        'SELECT id, envelope FROM outbox WHERE lane = ? AND id <= ? ORDER BY id',
        lane,
        lastId,
      );
    });
    const found: Outgoing[] = [];
    const broken: number[] = [];
    for (const { id, envelope: text } of rows) {
      const envelope = this.#open(id, text);
      if (envelope === undefined) broken.push(id);
      else found.push({ id, envelope });
    }
    if (broken.length === 0) return found;
    this.#log.warn({ rows: broken }, 'dropped what cannot be read of the outbox');
    await this.remove(broken);
    return found.length > 0 ? found : this.first(count, lane);
  }

  /** The cloud has it, or will never take it. */
  async remove(ids: readonly number[]): Promise<void> {
    const freed = await this.#store.write((sql) => {
      let bytes = 0;
      for (const id of ids) {
        bytes += sql.get<{ bytes: number }>('SELECT bytes FROM outbox WHERE id = ?', id)?.bytes ?? 0;
        sql.run('DELETE FROM outbox WHERE id = ?', id);
      }
      return bytes;
    });
    this.#bytes -= freed;
  }

  #open(id: number, text: string): Envelope | undefined {
    try {
      return envelopeSchema.safeParse(this.#store.codec.decode(outboxRowName(id), text)).data;
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      if (error instanceof StoreError && error.code === 'unsealable') return undefined;
      throw error;
    }
  }
}

/** Index of the last one that is read at once; the first always is. */
function fitting(rows: readonly { readonly bytes: number }[]): number {
  let bytes = 0;
  const beyond = rows.findIndex((row) => {
    bytes += row.bytes;
    return bytes > batchBytesMax;
  });
  return beyond < 0 ? rows.length - 1 : Math.max(0, beyond - 1);
}
