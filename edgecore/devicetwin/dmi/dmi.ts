/**
 * DMI: mappers that speak gRPC instead of MQTT. They register and report on the socket of the edge; the edge tells
 * each, on its own socket, the devices and models that are its. Nothing listens on a network. gRPC is loaded when
 * the first mapper comes, or had come before a restart.
 */

import { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Metrics } from '#beehive/metrics.ts';
import { packageRoot } from '#beehive/package-root.ts';
import type { Random } from '#beehive/random.ts';
import { dmiLimits } from '#protocol/dmi/messages.ts';
import type { RpcServer } from '#protocol/dmi/rpc.ts';
import { listenUnix, type UnixListener } from '#protocol/dmi/unix-socket.ts';
import { CancelledError, describeError } from '#protocol/errors.ts';
import type { Store } from '../../store/database.ts';
import { StoreError } from '../../store/errors.ts';
import { MetaStore } from '../../store/meta-store.ts';
import { dmiSocket } from '../config.ts';
import { defaultLease, type LeaseOptions, MapperLink } from './mapper-link.ts';
import { loadMappers, type MapperRow, saveMapper } from './mapper-rows.ts';
import { managerHandlers, type TwinDoor } from './requests.ts';
import { digestsOf, type HeldSpecs, nothingWanted, type Wanted, WantedSpecs } from './wanted.ts';

export interface DmiOptions {
  /** A directory; KubeEdge also takes the path of a file in it, ending in `.sock`. */
  readonly sockPath: string;
  readonly lease?: LeaseOptions | undefined;
}

export interface DmiComponents {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: DmiMetrics;
  readonly specs: HeldSpecs;
  readonly twin: TwinDoor;
}

export interface DmiMetrics {
  readonly called: (outcome: string) => void;
}

/** Programs of edgecore's own user: who may open it can speak for any device of this edge. */
const socketMode = 0o600;
const listenPause = { firstMs: 1_000, maxMs: 60_000, jitter: 0.2 };

export function createDmiMetrics(metrics: Metrics): DmiMetrics {
  const calls = metrics.counter('hawser_dmi_calls_total', 'Calls to mappers, by what became of them', [
    'outcome',
  ]);
  return { called: (outcome) => calls.inc({ outcome }) };
}

export class Dmi {
  readonly #options: DmiOptions;
  readonly #components: DmiComponents;
  readonly #log: Log;
  readonly #meta: MetaStore;
  readonly #wanted: WantedSpecs;
  readonly #links = new Map<string, MapperLink>();
  #server: Promise<RpcServer> | undefined;
  #complete: boolean | undefined;
  #registration = 0;
  #registering: Promise<unknown> = Promise.resolve();

  constructor(options: DmiOptions, components: DmiComponents) {
    this.#options = options;
    this.#components = components;
    this.#log = components.log.child({ part: 'dmi' });
    this.#meta = new MetaStore(components.store, components);
    this.#wanted = new WantedSpecs(components.specs);
  }

  /** Until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    let listener: UnixListener | undefined;
    try {
      listener = await this.#listen(signal);
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
    } finally {
      await listener?.close();
      (await this.#server?.catch(() => undefined))?.close();
      await this.#registering;
      await Promise.all([...this.#links.values()].map((link) => link.stop()));
    }
  }

  /** What the edge holds was read: all of it, or (not `complete`) nobody could say. */
  loaded(complete: boolean): void {
    if (this.#complete !== undefined) return;
    this.#complete = complete;
    for (const row of loadMappers(this.#meta)) {
      this.#registration = Math.max(this.#registration, row.registration);
      if (!this.#links.has(row.name)) this.#link(row);
    }
  }

  /** A device or model is new, changed or gone. */
  changed(): void {
    for (const link of this.#links.values()) link.wake();
  }

  async #listen(signal: AbortSignal): Promise<UnixListener> {
    const { clock, random } = this.#components;
    const path = dmiSocket(this.#options.sockPath);
    const pause = new Backoff(listenPause, random);
    const said = new Set<string>();
    for (;;) {
      try {
        const { connectionsMax } = dmiLimits;
        return await listenUnix({ path, mode: socketMode, connectionsMax }, (socket) => {
          void this.#accept().then(
            (server) => server.accept(socket),
            (error: unknown) => {
              socket.destroy();
              this.#log.error({ err: error }, 'gRPC could not be loaded');
            },
          );
        });
      } catch (error) {
        // Another edge's socket, a directory that we may not write: nothing that MQTT devices need.
        const reason = describeError(error);
        if (!said.has(reason)) this.#log.warn({ path, reason }, 'no socket for mappers, trying again');
        said.add(reason);
        await clock.sleep(pause.nextMs(), signal);
      }
    }
  }

  #accept(): Promise<RpcServer> {
    this.#server ??= import('#protocol/dmi/rpc.ts').then(({ createRpcServer }) =>
      createRpcServer(
        { packageDirectory: packageRoot(), service: 'DeviceManagerService' },
        managerHandlers(this.#components.twin, (row, withData) => this.#register(row, withData)),
        (method, error) => this.#log.error({ method, err: error }, 'a request of a mapper failed'),
      ),
    );
    return this.#server;
  }

  /** One after the other: which of two mappers of one protocol serves is decided by the order. */
  #register(
    info: Omit<MapperRow, 'registration' | 'told' | 'statesBefore'>,
    withData: boolean,
  ): Promise<Wanted | 'full' | 'not-ready'> {
    const done = this.#registering.then(() => this.#takeIn(info, withData));
    this.#registering = done.catch(() => {});
    return done;
  }

  async #takeIn(
    info: Omit<MapperRow, 'registration' | 'told' | 'statesBefore'>,
    withData: boolean,
  ): Promise<Wanted | 'full' | 'not-ready'> {
    if (this.#complete === undefined) return 'not-ready';
    if (!this.#links.has(info.name) && this.#links.size >= dmiLimits.mappersMax) {
      const gone = [...this.#links.values()].find(({ alive }) => !alive);
      if (gone === undefined) return 'full';
      await this.#drop(gone.row.name);
    }
    const before = [...this.#links.values()].filter(({ row }) => row.protocol === info.protocol);
    await this.#links.get(info.name)?.stop();
    this.#registration += 1;
    const wanted = this.#wanted.of(info.protocol);
    const row: MapperRow = {
      ...info,
      registration: this.#registration,
      told: withData ? digestsOf(wanted) : new Map(),
      statesBefore: new Map(before.flatMap((link) => [...link.row.statesBefore])),
    };
    await saveMapper(this.#meta, row);
    this.#log.info(
      { mapper: row.name, protocol: row.protocol, devices: wanted.devices.size },
      'mapper registered',
    );
    for (const [device, reason] of wanted.untold)
      this.#log.warn({ device, reason }, 'a mapper is not told of a device');
    this.#link(row);
    // A mapper of the same protocol that served until now is told to let go.
    for (const link of this.#links.values()) link.wake();
    return wanted;
  }

  #link(row: MapperRow): void {
    const { clock, random, twin, metrics } = this.#components;
    const link = new MapperLink(row, this.#options.lease ?? defaultLease, {
      clock,
      random,
      log: this.#log.child({ mapper: row.name }),
      connect: async (socket) => {
        const { createRpcClient } = await import('#protocol/dmi/rpc.ts');
        const service = 'DeviceMapperService';
        return createRpcClient({ packageDirectory: packageRoot(), service, socket, now: () => clock.now() });
      },
      wanted: () => ({
        wanted: this.#serves(row) ? this.#wanted.of(row.protocol) : nothingWanted,
        complete: this.#complete === true,
      }),
      save: (changed) => this.#save(changed),
      silenced: (devices) => this.#silence(devices),
      unsilenced: async (before) => {
        for (const [id, state] of before) {
          if (twin.stateOf(id) === 'unknown' && state !== '') await twin.state(id, state);
        }
      },
      count: metrics.called,
    });
    this.#links.set(row.name, link);
    link.start();
  }

  /** Of mappers that name the same protocol the last that registered. */
  #serves(row: MapperRow): boolean {
    for (const { row: other } of this.#links.values()) {
      if (other.protocol === row.protocol && other.registration > row.registration) return false;
    }
    return true;
  }

  async #silence(devices: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const { twin } = this.#components;
    const before = new Map<string, string>();
    for (const id of devices) {
      const state = twin.stateOf(id);
      if (state === undefined || state === 'unknown') continue;
      before.set(id, state);
      await twin.state(id, 'unknown');
    }
    // Said even when all were unknown before: who is silenced is asked for when it is back.
    return before;
  }

  async #save(row: MapperRow): Promise<void> {
    try {
      await saveMapper(this.#meta, row);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      // Told once more after a restart, which does no harm.
      this.#log.warn(
        { mapper: row.name, reason: describeError(error) },
        'what a mapper was told is not stored',
      );
    }
  }

  async #drop(name: string): Promise<void> {
    await this.#links.get(name)?.stop();
    this.#links.delete(name);
    await this.#meta.write((rows) => rows.delete(`node/nodeID/namespace/devicemapper/${name}`));
  }
}
