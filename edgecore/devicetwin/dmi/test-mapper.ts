/** For tests: a mapper that does nothing but speak, over real gRPC on real sockets. */

import { join } from 'node:path';
import { systemClock } from '#beehive/clock.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { createRpcClient, createRpcServer, type RpcClient } from '#protocol/dmi/rpc.ts';
import { RpcError } from '#protocol/dmi/rpc-error.ts';
import { listenUnix } from '#protocol/dmi/unix-socket.ts';

const packageDirectory = packageRoot();

export class TestMapper {
  readonly #dir: string;
  readonly name: string;
  readonly protocol: string;
  /** Calls of the edge, in order. */
  readonly calls: [method: string, what: string, request: unknown][] = [];
  /** Never answers a call. */
  hangs = false;
  /** Refuses a call when it answers a text. */
  refuse: (method: string, what: string) => string | undefined = () => undefined;
  #edge: RpcClient | undefined;
  #close: (() => Promise<void>) | undefined;

  constructor(dir: string, options: { name?: string; protocol?: string } = {}) {
    this.#dir = dir;
    this.name = options.name ?? 'm1';
    this.protocol = options.protocol ?? 'modbus';
  }

  get socket(): string {
    return join(this.#dir, `${this.name}.sock`);
  }

  async serve(): Promise<void> {
    const names = [
      'RegisterDevice',
      'UpdateDevice',
      'RemoveDevice',
      'CreateDeviceModel',
      'UpdateDeviceModel',
    ];
    const handlers = [...names, 'RemoveDeviceModel'].map((method) => {
      const handle = async (request: unknown) => {
        const what = nameOf(request);
        if (this.hangs) await new Promise(() => {});
        const reason = this.refuse(method, what);
        if (reason !== undefined) throw new RpcError(reason, { code: 'rpc', status: 'UNKNOWN', method });
        this.calls.push([method, what, request]);
        return {};
      };
      return [method, handle] as const;
    });
    const service = 'DeviceMapperService';
    const server = createRpcServer({ packageDirectory, service }, Object.fromEntries(handlers), () => {});
    const listener = await listenUnix({ path: this.socket, mode: 0o600, connectionsMax: 8 }, (socket) =>
      server.accept(socket),
    );
    this.#close = async () => {
      await listener.close();
      server.close();
    };
  }

  /** As a process that is gone. */
  async die(): Promise<void> {
    this.#edge?.close();
    this.#edge = undefined;
    await this.#close?.();
    this.#close = undefined;
  }

  call(method: string, request: object): Promise<unknown> {
    const socket = join(this.#dir, 'dmi.sock');
    this.#edge ??= createRpcClient({
      packageDirectory,
      service: 'DeviceManagerService',
      socket,
      now: systemClock.now,
    });
    return this.#edge.call(method, request, { timeoutMs: 60_000 });
  }

  /** Again and again until the edge is there. */
  async register(withData = true): Promise<unknown> {
    const { name, protocol } = this;
    const mapper = {
      name,
      version: 'v1',
      api_version: 'v1',
      protocol,
      address: Buffer.from(this.socket),
      state: 'ok',
    };
    for (;;) {
      try {
        return await this.call('MapperRegister', { withData, mapper });
      } catch (error) {
        if (!(error instanceof RpcError && error.isAway)) throw error;
        await systemClock.sleep(20);
      }
    }
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await systemClock.sleep(5);
  }

  /** Methods and names of the calls so far, and forgets them. */
  take(): string[] {
    return this.calls.splice(0).map(([method, what]) => `${method} ${what}`);
  }
}

function nameOf(request: unknown): string {
  const { device, model, deviceName, deviceNamespace, modelName, modelNamespace } = Object(request);
  const [namespace, name] =
    (device ?? model) === undefined
      ? [deviceNamespace ?? modelNamespace, deviceName ?? modelName]
      : [(device ?? model).namespace, (device ?? model).name];
  return `${namespace}/${name}`;
}
