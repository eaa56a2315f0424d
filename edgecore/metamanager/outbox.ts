/**
 * Sends what is in the outbox, each lane in order, while there is a connection, and forgets each only when it has
 * arrived: a cloud of ours says so once it has written it, or a rule's target has taken it; at a KubeEdge cloud, which answers none of this, it is gone when the
 * pong of a ping that was sent behind it has come.
 */

import { unlessAborted } from '#beehive/abort.ts';
import { Backoff } from '#beehive/backoff.ts';
import type { Bus } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { BusError } from '#beehive/errors.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import { CancelledError } from '#protocol/errors.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import { ackHeader, ackLater } from '#protocol/session.ts';
import { type OutboxLane, type OutboxStore, type Outgoing, outboxLanes } from '../store/outbox-store.ts';

export interface OutboxComponents {
  readonly store: OutboxStore;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const windowMax = 32;
const answerTimeoutMs = 30_000;
const retry = { firstMs: 1_000, maxMs: 30_000, jitter: 0.5 };

export class Outbox {
  readonly #components: OutboxComponents;
  readonly #wakes = new Map<OutboxLane, () => void>();
  #saidFull = false;

  constructor(components: OutboxComponents) {
    this.#components = components;
  }

  /** `full`: it is not kept, and who says it is told so. */
  async keep({ route, content, header }: Envelope, lane: OutboxLane): Promise<'kept' | 'full'> {
    const { store, log } = this.#components;
    // An id of its own, because who says it waits on the given one.
    const own = newEnvelope(route, content, { timestampMs: header.timestamp });
    const kept = await store.append(own, lane);
    if (kept === 'full' && !this.#saidFull) {
      log.warn(
        { bytes: store.bytes },
        'the outbox is full: what comes now is refused until the cloud is back',
      );
    }
    this.#saidFull = kept === 'full';
    this.#wakes.get(lane)?.();
    return kept;
  }

  /** Until the signal of this connection is aborted. @throws CancelledError */
  async run(cloud: 'hawser' | 'kubeedge', signal: AbortSignal): Promise<void> {
    await Promise.all(outboxLanes.map((lane) => this.#runLane(lane, cloud, signal)));
  }

  async #runLane(lane: OutboxLane, cloud: 'hawser' | 'kubeedge', signal: AbortSignal): Promise<void> {
    const { store, clock, random } = this.#components;
    const backoff = new Backoff(retry, random);
    while (!signal.aborted) {
      const waiting = new Promise<void>((resolve) => {
        this.#wakes.set(lane, resolve);
      });
      const batch = await store.first(windowMax, lane);
      if (batch.length === 0) {
        await unlessAborted(waiting, signal);
        continue;
      }
      const arrived = cloud === 'hawser' ? await this.#ask(batch, signal) : await this.#tell(batch, signal);
      await store.remove(arrived);
      if (arrived.length === batch.length) backoff.reset();
      else await clock.sleep(backoff.nextMs(), signal);
    }
  }

  /** The ids of those that need not be sent again. */
  async #ask(batch: readonly Outgoing[], signal: AbortSignal): Promise<number[]> {
    const { bus, log } = this.#components;
    const outcomes = await Promise.all(
      batch.map(async ({ id, envelope }) => {
        const asking = { ...envelope, header: { ...envelope.header, [ackHeader]: true } };
        const answer = await this.#answerTo(
          bus.request(source.edgeHub, asking, { timeoutMs: answerTimeoutMs, signal }),
        );
        // EdgeHub's own word for a link that is gone: nobody has seen the message.
        if (answer === undefined || answer.route.group === group.link) return undefined;
        if (answer.header[ackHeader] === ackLater) return undefined;
        if (answer.route.operation === operation.error) {
          const { resource } = envelope.route;
          log.warn({ resource, reason: answer.content }, 'the cloud will not take a message of the outbox');
        }
        return id;
      }),
    );
    return outcomes.filter((id) => id !== undefined);
  }

  async #tell(batch: readonly Outgoing[], signal: AbortSignal): Promise<number[]> {
    const { bus } = this.#components;
    for (const { envelope } of batch) {
      if (bus.send(source.edgeHub, envelope) === 'full') return [];
    }
    const ping = newEnvelope(
      { source: source.metaManager, group: group.link, operation: operation.query, resource: 'link/ping' },
      null,
    );
    const pong = await this.#answerTo(
      bus.request(source.edgeHub, ping, { timeoutMs: answerTimeoutMs, signal }),
    );
    return pong?.route.operation === operation.response ? batch.map(({ id }) => id) : [];
  }

  /** Undefined when none came. @throws CancelledError */
  async #answerTo(asked: Promise<Envelope>): Promise<Envelope | undefined> {
    try {
      return await asked;
    } catch (error) {
      if (error instanceof CancelledError || !(error instanceof BusError)) throw error;
      return undefined;
    }
  }
}
