/** Mappers on the SDK, with real gRPC, at DeviceTwin's own socket. */

import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { Aedes } from 'aedes';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { systemRandom } from '#beehive/random.ts';
import { TestEdge } from '#edgecore/devicetwin/test-edge.ts';
import type { Driver, DriverClass } from '#mapper/hawser-mapper.ts';
import { ModbusDriver } from '#mapper/modbus/modbus-driver.ts';
import { type MapperConfig, mapperFormat } from '#mapper/sdk/config.ts';
import { runMapper } from '#mapper/sdk/mapper.ts';
import { ThermometerDriver } from '#mapper/thermometer/thermometer-driver.ts';
import { freePort } from '#test/free-port.ts';
import { describeUnless } from '../describe-unless.ts';
import { needsModbusServer, startModbusDevice } from '../modbus-device.ts';

const model = {
  metadata: { name: 'm', namespace: 'default', uid: 'm' },
  spec: {
    protocol: 'sim',
    properties: [
      { name: 'temperature', type: 'INT', accessMode: 'ReadOnly' },
      { name: 'setpoint', type: 'INT', accessMode: 'ReadWrite', minimum: '-40', maximum: '85' },
    ],
  },
};
const cycle = { collectCycle: 30, reportCycle: 30 };
const device = (setpoint: string, more: object = {}, protocol: object = { protocolName: 'sim' }) => ({
  metadata: { name: 't1', namespace: 'default', uid: 'u1' },
  spec: {
    deviceModelRef: { name: 'm' },
    nodeName: 'edge-1',
    protocol,
    stateReport: { reportToCloud: true, reportCycle: 50 },
    methods: [{ name: 'adjust', propertyNames: ['setpoint'] }],
    properties: [
      { name: 'temperature', reportToCloud: true, ...cycle, ...more },
      { name: 'setpoint', desired: { value: setpoint }, reportToCloud: true, ...cycle },
    ],
  },
});

let edge: TestEdge;
const running: (() => Promise<void>)[] = [];

beforeEach(() => begin(600_000));
afterEach(end);

/** @param leaseMs after which a mapper that says nothing is taken for dead. */
async function begin(leaseMs: number): Promise<void> {
  edge = new TestEdge({ dmi: true, lease: { pingEveryMs: 50, leaseMs } });
  edge.held.devicemodel.push(model);
  edge.held.device.push(device('22'));
  await edge.start();
  edge.link(true);
}

async function end(): Promise<void> {
  for (const stop of running.splice(0).reverse()) await stop();
  await edge.end();
}

describe('a mapper on the SDK', () => {
  test('writes what is wanted, reports what is read, and follows a change of the wish', async () => {
    await start(ThermometerDriver);
    await reported('temperature', '22');
    await reported('setpoint', '22');
    edge.object('update', 'default/device/t1', device('19'));
    await reported('temperature', '19');
    expect(states()).toContain('online');
  });

  test('goes on by itself when the edge was restarted', async () => {
    await start(ThermometerDriver);
    await reported('temperature', '22');
    await edge.stop();
    edge.held.device = [device('25')];
    await edge.start();
    await reported('temperature', '25');
  });

  test('that is started again gets its devices, which were unknown meanwhile', async () => {
    await end();
    await begin(200);
    const stop = await start(ThermometerDriver);
    await reported('temperature', '22');
    await stop.end();
    await edge.until(() => states().at(-1) === 'unknown');
    edge.published.length = 0;
    await start(ThermometerDriver);
    await reported('temperature', '22');
    await edge.until(() => states().at(-1) === 'online');
  });

  test('survives drivers that throw, hang at their start, or cannot be made', async () => {
    let made = 0;
    let tries = 0;
    class Moody implements Driver {
      constructor() {
        made += 1;
        if (made === 1) throw new Error('no such device');
      }
      async init() {
        tries += 1;
        if (tries < 3) throw new Error('not yet');
      }
      async read(): Promise<number> {
        if (tries < 3) throw new Error('not connected');
        return 7;
      }
      async write() {
        throw new Error('stuck');
      }
    }
    await start(Moody);
    await expect.poll(() => made).toBe(1);
    const spec = device('22').spec;
    edge.object('update', 'default/device/t1', { ...device('22'), spec: { ...spec, methods: [] } });
    await edge.until(() => states().includes('offline'));
    await reported('temperature', '7');
    await edge.until(() => states().at(-1) === 'online');
  });

  test('answers over REST on loopback: ping, property, method, model, and turns browsers away', async () => {
    const { port } = await start(ThermometerDriver);
    await reported('temperature', '22');
    const get = async (path: string, headers: Record<string, string> = {}) => {
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`, { headers });
      const text = await answer.text();
      return {
        status: answer.status,
        id: answer.headers.get('x-correlation-id'),
        body: text.startsWith('{') ? JSON.parse(text) : text,
      };
    };
    expect(await get('ping', { 'x-correlation-id': 'c1' })).toMatchObject({
      status: 200,
      id: 'c1',
      body: { apiVersion: 'v1', statusCode: 200, Message: expect.any(String) },
    });
    expect((await get('device/default/t1/temperature')).body.Data).toMatchObject({
      DeviceName: 't1',
      Namespace: 'default',
      PropertyName: 'temperature',
      Value: '22',
      Type: 'int',
    });
    expect((await get('devicemethod/default/t1')).body.Data.Methods).toEqual([
      {
        Name: 'adjust',
        Path: '/api/v1/devicemethod/default/t1/adjust/{propertyName}/{data}',
        Parameters: [{ PropertyName: 'setpoint', ValueType: 'int' }],
      },
    ]);
    expect((await get('devicemethod/default/t1/adjust/setpoint/30')).status).toBe(200);
    await reported('temperature', '30');
    expect((await get('meta/model/default/m')).body.name).toBe('m');
    for (const [path, status] of [
      ['devicemethod/default/t1/adjust/temperature/30', 500],
      ['devicemethod/default/t1/adjust/setpoint/hot', 500],
      ['devicemethod/default/t1/adjust/setpoint/99', 500],
      ['device/default/t9/temperature', 500],
      ['database/default/t1', 503],
      ['device/default/t1/%E0%A4%A', 404],
      [`ping?${'x'.repeat(9_000)}`, 431],
      ['nothing', 404],
    ] as const) {
      expect([path, (await get(path)).status]).toEqual([path, status]);
    }
    expect((await get('ping', { 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    const posted = await fetch(`http://127.0.0.1:${port}/api/v1/ping`, { method: 'POST' });
    expect(posted.status).toBe(405);
    const sockets = Array.from({ length: 100 }, () => connect(port, '127.0.0.1').on('error', () => {}));
    const cut = await Promise.all(
      sockets.map(
        (socket) =>
          new Promise<boolean>((resolve) => {
            socket.once('close', () => resolve(true));
            socket.write('GET /api/v1/ping HTTP/1.1\r\nhost: localhost\r\n\r\n');
            socket.once('data', () => resolve(false));
          }),
      ),
    );
    for (const socket of sockets) socket.destroy();
    // As many as are told from a flood, less the connections of this test itself.
    expect(cut.filter((isCut) => !isCut).length).toBeLessThanOrEqual(64);
    expect(cut.filter((isCut) => !isCut).length).toBeGreaterThan(50);
  });

  test('pushes to HTTP and MQTT, also when they come up later', async () => {
    const [httpPort, mqttPort] = [await freePort(), await freePort()];
    await start(ThermometerDriver);
    const http = { hostName: 'http://127.0.0.1', port: httpPort, requestPath: '/in', timeout: 1000 };
    const mqtt = { address: `mqtt://127.0.0.1:${mqttPort}`, topic: 'hall/t', qos: 1, retained: false };
    edge.object('update', 'default/device/t1', device('22', { pushMethod: { http, mqtt } }));
    await reported('temperature', '22');
    const bodies: string[] = [];
    const server = createHttpServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        bodies.push(`${request.method} ${request.url} ${body}`);
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(httpPort, '127.0.0.1', resolve));
    const broker = await Aedes.createBroker();
    const messages: string[] = [];
    broker.on('publish', ({ topic, payload }) => {
      if (topic === 'hall/t') messages.push(payload.toString());
    });
    const listener = createServer(broker.handle);
    await new Promise<void>((resolve) => listener.listen(mqttPort, '127.0.0.1', resolve));
    running.unshift(async () => {
      server.closeAllConnections();
      server.close();
      listener.close();
      await new Promise<void>((resolve) => broker.close(resolve));
    });
    while (bodies.length === 0 || messages.length === 0) await systemClock.sleep(20);
    expect(bodies[0]).toMatch(/^POST \/in temperature=22&time=\d{4}-\d\d-\d\d%20\d\d%3A\d\d%3A\d\d$/);
    expect(messages[0]).toMatch(/^time is \d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}hall\/t: 22$/);
  });
});

describeUnless(needsModbusServer, 'the Modbus mapper at a real Modbus server', () => {
  test('reads and writes coils and registers of every width', async () => {
    const port = await freePort();
    running.push((await startModbusDevice(port)).end);
    const property = (name: string, visitors: object, desired?: string) => ({
      name,
      ...cycle,
      reportToCloud: true,
      visitors: { protocolName: 'modbus', configData: visitors },
      ...(desired === undefined ? {} : { desired: { value: desired } }),
    });
    const types: [string, string, string][] = [
      ['outside', 'FLOAT', 'ReadOnly'],
      ['setpoint', 'INT', 'ReadWrite'],
      ['ratio', 'FLOAT', 'ReadWrite'],
      ['wide', 'DOUBLE', 'ReadWrite'],
      ['counter', 'INT', 'ReadWrite'],
      ['label', 'STRING', 'ReadWrite'],
      ['on', 'BOOLEAN', 'ReadWrite'],
    ];
    const properties = types.map(([name, type, accessMode]) => ({ name, type, accessMode }));
    edge.object('insert', 'default/devicemodel/m', { ...model, spec: { protocol: 'modbus', properties } });
    const configData = { ip: '127.0.0.1', port, slaveID: 1 };
    const spec = device('0', {}, { protocolName: 'modbus', configData }).spec;
    const holding = 'HoldingRegister';
    edge.object('insert', 'default/device/t1', {
      ...device('0'),
      spec: {
        ...spec,
        properties: [
          property('outside', { register: 'InputRegister', offset: 0, scale: 0.1 }),
          property('setpoint', { register: holding, offset: 2 }, '-21'),
          property('ratio', { register: holding, offset: 4, limit: 2, isRegisterSwap: true }, '1.5'),
          property('wide', { register: holding, offset: 8, limit: 4 }, '-2.25'),
          property('counter', { register: holding, offset: 12, limit: 2, isSwap: true }, '100000'),
          property('label', { register: holding, offset: 16, limit: 4 }, 'hall-3'),
          property('on', { register: 'CoilRegister', offset: 5 }, 'true'),
        ],
      },
    });
    await start(ModbusDriver, 'modbus');
    for (const [name, value] of [
      ['outside', '-10'],
      ['setpoint', '-21'],
      ['ratio', '1.5'],
      ['wide', '-2.25'],
      ['counter', '100000'],
      ['label', 'hall-3'],
      ['on', 'true'],
    ] as const) {
      await reported(name, value);
    }
  });

  test('says that a device is offline while its server is away, and goes on when it is back', async () => {
    const port = await freePort();
    edge.object('insert', 'default/devicemodel/m', {
      ...model,
      spec: { ...model.spec, protocol: 'modbus' },
    });
    const visitors = { protocolName: 'modbus', configData: { register: 'HoldingRegister', offset: 3 } };
    const configData = { ip: '127.0.0.1', port };
    const spec = device('5', {}, { protocolName: 'modbus', configData }).spec;
    const properties = spec.properties.slice(1).map((property) => ({ ...property, visitors }));
    edge.object('insert', 'default/device/t1', { ...device('5'), spec: { ...spec, properties } });
    await start(ModbusDriver, 'modbus');
    await edge.until(() => states().at(-1) === 'offline');
    const server = await startModbusDevice(port);
    running.push(() => server.end());
    await reported('setpoint', '5');
    await edge.until(() => states().at(-1) === 'online');
    await server.end();
    await edge.until(() => states().at(-1) === 'offline');
  });
});

async function start(
  driverClass: DriverClass,
  protocol = 'sim',
): Promise<{ readonly port: number; end(): Promise<void> }> {
  const config: MapperConfig = mapperFormat.schema.parse({
    grpc_server: { socket_path: join(edge.dir, 'mapper.sock') },
    common: { name: 'sim', protocol, edgecore_sock: join(edge.dir, 'dmi.sock'), http_port: 0 },
  });
  const stop = new AbortController();
  let done: Promise<void> = Promise.resolve();
  const port = await new Promise<number>((resolve, reject) => {
    const components = { clock: systemClock, random: systemRandom, log: silentLog, listening: resolve };
    done = runMapper(config, driverClass, components, stop.signal);
    done.catch(reject);
  });
  const end = async () => {
    stop.abort();
    await done;
  };
  running.push(end);
  return { port, end };
}

/** What was said over MQTT of it, from now on. */
async function reported(property: string, value: string): Promise<void> {
  const from = edge.published.length;
  await edge.until(() =>
    edge.published
      .slice(Math.max(0, from - 40))
      .some(
        ({ topic, body }) =>
          topic.endsWith('twin/update/result') && Object(body).twin?.[property]?.actual?.value === value,
      ),
  );
}

function states(): string[] {
  return edge.published.flatMap(({ topic, body }) =>
    topic.endsWith('state/update/result') ? [String(Object(body).device?.state)] : [],
  );
}
