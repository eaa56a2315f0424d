import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { systemRandom } from '#beehive/random.ts';
import { createRpcClient, createRpcServer, type RpcClient, type RpcHandler } from '#protocol/dmi/rpc.ts';
import { listenUnix } from '#protocol/dmi/unix-socket.ts';
import type { Driver, MapperProperty, Scalar } from '../hawser-mapper.ts';
import { mapperFormat } from './config.ts';
import { runMapper } from './mapper.ts';

const packageDirectory = packageRoot();
const options = { timeoutMs: 60_000 };
const model = (type: string, name = 'm') => ({
  model: {
    name,
    namespace: 'default',
    spec: { properties: [{ name: 'setpoint', type, accessMode: 'ReadWrite' }] },
  },
});
const device = (wanted: string, name = 'd', modelName = 'm') => ({
  device: {
    name,
    namespace: 'default',
    spec: {
      deviceModelReference: modelName,
      properties: [{ name: 'setpoint', desired: { value: wanted, metadata: {} } }],
    },
  },
});

/** Says what is written, in order. */
class Written implements Driver {
  static values: Scalar[] = [];
  static heard: () => void = () => {};
  static until(value: Scalar): Promise<void> {
    return new Promise((resolve) => {
      Written.heard = () => {
        if (Written.values.includes(value)) resolve();
      };
      Written.heard();
    });
  }
  async read() {
    return 0;
  }
  async write(_: MapperProperty, value: Scalar) {
    Written.values.push(value);
    Written.heard();
  }
}

let dir = '';
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  rmSync(dir, { recursive: true });
  Written.values = [];
});

/** An edge that does as it is told when the mapper registers, and the mapper. */
async function start(register: (mapper: RpcClient) => ReturnType<RpcHandler>): Promise<RpcClient> {
  dir = mkdtempSync(join(tmpdir(), 'hawser-mapper-'));
  const [edge, socket] = [join(dir, 'edge.sock'), join(dir, 'mapper.sock')];
  const client = createRpcClient({
    packageDirectory,
    service: 'DeviceMapperService',
    socket,
    now: systemClock.now,
  });
  const handlers = { MapperRegister: () => register(client) };
  const server = createRpcServer(
    { packageDirectory, service: 'DeviceManagerService' },
    handlers,
    (method, error) => {
      throw new Error(method, { cause: error });
    },
  );
  const listener = await listenUnix({ path: edge, mode: 0o600, connectionsMax: 4 }, (connection) =>
    server.accept(connection),
  );
  const config = mapperFormat.schema.parse({
    grpc_server: { socket_path: socket },
    common: { name: 'test', protocol: 'test', edgecore_sock: edge, http_port: 0 },
  });
  const stop = new AbortController();
  const components = { clock: systemClock, random: systemRandom, log: silentLog };
  const done = runMapper(config, Written, components, stop.signal);
  closing.push(async () => {
    client.close();
    stop.abort();
    await done;
    await listener.close();
    server.close();
  });
  return client;
}

test('calls that the edge makes before its answer to the registration is read are not undone by it', async () => {
  const told: Promise<unknown>[] = [];
  const mapper = await start(async (calls) => {
    told.push(calls.call('CreateDeviceModel', model('INT'), options));
    told.push(calls.call('RegisterDevice', device('25'), options));
    // On the same connection, behind them: the mapper has them.
    await calls.ping(options);
    return { modelList: [model('INT', 'other').model], deviceList: [device('7', 'other', 'other').device] };
  });
  await Written.until(25);
  await Written.until(7);
  await Promise.all(told);
  await mapper.call('GetDevice', { deviceName: 'd', deviceNamespace: 'default' }, options);
});

test('a call that the edge has given up before it answers the registration does nothing', async () => {
  let old: Promise<unknown> = Promise.resolve();
  await start(async (mapper) => {
    const givenUp = new AbortController();
    old = mapper.call('UpdateDevice', device('1'), { ...options, signal: givenUp.signal }).catch(() => {});
    await mapper.ping(options);
    givenUp.abort();
    await old;
    await mapper.ping(options);
    return { modelList: [model('INT').model], deviceList: [device('2').device] };
  });
  await Written.until(2);
  expect(Written.values).toEqual([2]);
});

test('a device waits for its model, and is then written what its types say', async () => {
  const mapper = await start(async () => ({ modelList: [], deviceList: [device('25').device] }));
  await mapper.call('CreateDeviceModel', model('INT'), options);
  await Written.until(25);
  expect(Written.values).toEqual([25]);
});
