/**
 * One registered mapper: tells it what it should know until it knows it, and watches whether it is alive.
 *
 * What waits for a mapper is not a list of calls but the difference between what is wanted and what it was told, so
 * it is bounded by the objects of the node and nothing in it is out of date. The mapper holds a lease: each call that
 * it answers renews it, and when there are none it is pinged. When the lease ends, its devices are in nobody's hands.
 */

import { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import { dmiLimits } from '#protocol/dmi/messages.ts';
import type { RpcClient } from '#protocol/dmi/rpc.ts';
import { RpcError } from '#protocol/dmi/rpc-error.ts';
import { CancelledError } from '#protocol/errors.ts';
import type { MapperRow } from './mapper-rows.ts';
import { plan, type Step, type Wanted } from './wanted.ts';

export interface MapperLinkComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly connect: (socket: string) => Promise<RpcClient>;
  readonly wanted: () => { readonly wanted: Wanted; readonly complete: boolean };
  readonly save: (row: MapperRow) => Promise<void>;
  /** The devices that the mapper serves have nobody to say how they are; answers what they had said before. */
  readonly silenced: (devices: readonly string[]) => Promise<ReadonlyMap<string, string>>;
  /** They have again. */
  readonly unsilenced: (before: ReadonlyMap<string, string>) => Promise<void>;
  readonly count: (outcome: 'told' | 'refused' | 'away') => void;
}

export interface LeaseOptions {
  readonly pingEveryMs: number;
  readonly leaseMs: number;
}

export const defaultLease: LeaseOptions = { pingEveryMs: 5_000, leaseMs: 15_000 };

const retryPause = { firstMs: 300, maxMs: 30_000, jitter: 0.2 };
/** Looks again without being woken, in case of a wake that was missed. */
const recheckMs = 3_600_000;

export class MapperLink {
  readonly #components: MapperLinkComponents;
  readonly #lease: LeaseOptions;
  readonly #told: Map<string, string>;
  readonly #refusals = new Map<string, string>();
  readonly #stop = new AbortController();
  #row: MapperRow;
  #alive: boolean;
  #heardAtMs: number;
  #woken = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(row: MapperRow, lease: LeaseOptions, components: MapperLinkComponents) {
    this.#row = row;
    this.#lease = lease;
    this.#components = components;
    this.#told = new Map(row.told);
    this.#alive = row.statesBefore.size === 0;
    this.#heardAtMs = components.clock.monotonicMs();
  }

  get row(): MapperRow {
    return this.#row;
  }

  get alive(): boolean {
    return this.#alive;
  }

  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      if (!(error instanceof CancelledError))
        this.#components.log.error({ err: error }, 'mapper link failed');
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** What is wanted may have changed. */
  wake(): void {
    this.#woken.abort();
  }

  async #run(): Promise<void> {
    const client = await this.#components.connect(this.#row.address);
    try {
      await Promise.all([this.#deliver(client), this.#watch(client)]);
    } finally {
      client.close();
    }
  }

  async #deliver(client: RpcClient): Promise<void> {
    const { clock, random } = this.#components;
    const pause = new Backoff(retryPause, random);
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const woken = new AbortController();
      this.#woken = woken;
      const outcome = await this.#round(client);
      if (outcome === 'told') pause.reset();
      const ms = outcome === 'told' ? recheckMs : pause.nextMs();
      // A mapper that is away is away for news, too.
      const until = outcome === 'away' ? signal : AbortSignal.any([signal, woken.signal]);
      await clock.sleep(ms, until).catch(() => {});
    }
  }

  async #round(client: RpcClient): Promise<'told' | 'refused' | 'away'> {
    const { wanted, complete } = this.#components.wanted();
    const steps = plan(wanted, this.#told, complete);
    if (steps.length === 0) return 'told';
    let worst: 'told' | 'refused' | 'away' = 'told';
    for (const step of steps) {
      const outcome = await this.#tell(client, step);
      this.#components.count(outcome);
      if (outcome !== 'told') worst = outcome;
      if (outcome === 'away') break;
    }
    await this.#store({});
    return worst;
  }

  async #tell(client: RpcClient, step: Step): Promise<'told' | 'refused' | 'away'> {
    const { key, method, request, digest } = step;
    const { log } = this.#components;
    try {
      await client.call(method, request, { timeoutMs: dmiLimits.callTimeoutMs, signal: this.#stop.signal });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (error.isAway) return 'away';
      await this.#heard();
      // What is refused is said once, not at each try.
      if (this.#refusals.get(key) !== error.message) {
        log.warn({ what: key, method, reason: error.message }, 'a mapper refused a call');
        this.#refusals.set(key, error.message);
      }
      // It may not know the device that we take it to know: then it is registered anew, and a removal is done.
      this.#told.delete(key);
      return digest === undefined ? 'told' : 'refused';
    }
    this.#refusals.delete(key);
    if (digest === undefined) this.#told.delete(key);
    else this.#told.set(key, digest);
    await this.#heard();
    return 'told';
  }

  async #watch(client: RpcClient): Promise<void> {
    const { clock } = this.#components;
    const { signal } = this.#stop;
    const { pingEveryMs, leaseMs } = this.#lease;
    while (!signal.aborted) {
      await clock.sleep(pingEveryMs, signal);
      const silentMs = clock.monotonicMs() - this.#heardAtMs;
      if (silentMs < pingEveryMs && this.#alive) continue;
      try {
        await client.ping({ timeoutMs: pingEveryMs, signal });
        await this.#heard();
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        if (clock.monotonicMs() - this.#heardAtMs >= leaseMs) await this.#lost(error.message);
      }
    }
  }

  async #heard(): Promise<void> {
    this.#heardAtMs = this.#components.clock.monotonicMs();
    if (this.#alive) return;
    this.#alive = true;
    this.#components.log.info({}, 'mapper is back');
    const before = this.#row.statesBefore;
    await this.#store({ statesBefore: new Map() });
    await this.#components.unsilenced(before);
    this.wake();
  }

  async #lost(reason: string): Promise<void> {
    if (!this.#alive) return;
    this.#alive = false;
    this.#components.log.warn({ reason }, 'mapper does not answer: its devices are unknown until it does');
    const devices = [...this.#told.keys()].filter((key) => key.startsWith('device '));
    const before = await this.#components.silenced(devices.map((key) => key.slice('device '.length)));
    await this.#store({ statesBefore: before });
  }

  async #store(change: Partial<MapperRow>): Promise<void> {
    this.#row = { ...this.#row, told: new Map(this.#told), ...change };
    if (!this.#stop.signal.aborted) await this.#components.save(this.#row);
  }
}
