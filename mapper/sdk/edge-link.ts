/**
 * The way to the edge: registration and reports. When the edge was away the mapper registers again, because it may
 * have come back without its store; the answer is the whole of what the mapper shall serve.
 */

import { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { packageRoot } from '#beehive/package-root.ts';
import type { Random } from '#beehive/random.ts';
import { type DeviceMessage, type ModelMessage, registerAnswerSchema } from '#protocol/dmi/messages.ts';
import { createRpcClient, type RpcClient } from '#protocol/dmi/rpc.ts';
import { RpcError } from '#protocol/dmi/rpc-error.ts';
import { CancelledError } from '#protocol/errors.ts';
import type { MapperConfig } from './config.ts';
import type { Reports } from './device-worker.ts';

export interface Assignment {
  readonly models: readonly ModelMessage[];
  readonly devices: readonly DeviceMessage[];
}

export interface EdgeLinkComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly assigned: (assignment: Assignment) => void;
}

const registerTimeoutMs = 5_000;
const reportTimeoutMs = 5_000;
const registerPause = { firstMs: 100, maxMs: 5_000, jitter: 0.2 };
/** Is the edge still there, when no report asks? */
const pingEveryMs = 5_000;

export class EdgeLink {
  readonly #config: MapperConfig;
  readonly #components: EdgeLinkComponents;
  readonly #client: RpcClient;
  #away = new AbortController();
  #asking: Promise<unknown> | undefined;

  constructor(config: MapperConfig, components: EdgeLinkComponents) {
    this.#config = config;
    this.#components = components;
    this.#client = createRpcClient({
      packageDirectory: packageRoot(),
      service: 'DeviceManagerService',
      socket: config.common.edgecore_sock,
      now: () => components.clock.now(),
    });
  }

  /** Registers, and again whenever the edge was away, until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    try {
      while (!signal.aborted) {
        this.#away = new AbortController();
        await this.#register(signal);
        while (!this.#away.signal.aborted) {
          await clock.sleep(pingEveryMs, AbortSignal.any([signal, this.#away.signal])).catch(() => {});
          if (signal.aborted) return;
          await this.#try((options) => this.#client.ping(options));
        }
      }
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
    } finally {
      this.#client.close();
    }
  }

  /**
   * Resolves while no registration is under way. Its answer comes by another connection than the calls of the edge,
   * and may be read after calls that the edge made later: as the whole of what is served it would undo them.
   */
  async settled(): Promise<void> {
    while (this.#asking !== undefined) await this.#asking;
  }

  get reports(): Reports {
    return {
      twin: ({ device }, { property, desired }, value) => {
        const metadata = { timestamp: String(this.#components.clock.now()), type: property.type };
        const twin = {
          propertyName: property.name,
          observedDesired: { value: desired ?? '', metadata },
          reported: { value, metadata },
        };
        return this.#report('ReportDeviceStatus', {
          deviceName: device.name,
          deviceNamespace: device.namespace,
          reportedDevice: { twins: [twin] },
        });
      },
      state: ({ device }, state) =>
        this.#report('ReportDeviceStates', {
          deviceName: device.name,
          deviceNamespace: device.namespace,
          state,
        }),
    };
  }

  async #register(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#components;
    const { edgecore_sock: edge } = this.#config.common;
    const pause = new Backoff(registerPause, random);
    let said = '';
    for (;;) {
      try {
        const asking = this.#ask(signal);
        this.#asking = asking.catch(() => {});
        return await asking.finally(() => {
          this.#asking = undefined;
        });
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        if (said !== error.message) {
          log.warn({ edge, reason: error.message }, 'not registered yet, trying again');
        }
        said = error.message;
        await clock.sleep(pause.nextMs(), signal);
      }
    }
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { log, assigned } = this.#components;
    const { common, grpc_server: server } = this.#config;
    const { name, version, api_version, protocol } = common;
    const address = Buffer.from(server.socket_path);
    const request = {
      withData: true,
      mapper: { name, version, api_version, protocol, address, state: 'ok' },
    };
    const options = { timeoutMs: registerTimeoutMs, signal };
    const answer = registerAnswerSchema.safeParse(
      await this.#client.call('MapperRegister', request, options),
    );
    if (!answer.success) {
      throw new RpcError('the edge answered what is no registration', {
        code: 'rpc',
        status: 'DATA_LOSS',
        method: 'MapperRegister',
      });
    }
    const { modelList: models, deviceList: devices } = answer.data;
    log.info({ devices: devices.length }, 'registered at the edge');
    assigned({ models, devices });
  }

  async #report(method: string, request: object): Promise<boolean> {
    return await this.#try((options) => this.#client.call(method, request, options));
  }

  async #try(call: (options: { timeoutMs: number }) => Promise<unknown>): Promise<boolean> {
    try {
      await call({ timeoutMs: reportTimeoutMs });
      return true;
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (!error.isAway) throw error;
      this.#away.abort();
      return false;
    }
  }
}
