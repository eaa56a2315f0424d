import { afterEach, describe, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { type DeviceMessage, deviceMessageSchema, modelMessageSchema } from '#protocol/dmi/messages.ts';
import type { DeviceState, Driver, MapperProperty, Scalar } from '../hawser-mapper.ts';
import { DeviceWorker } from './device-worker.ts';
import { deviceSpec } from './spec.ts';

const model = modelMessageSchema.parse({
  name: 'm',
  namespace: 'default',
  spec: {
    properties: [
      { name: 'water', type: 'INT', accessMode: 'ReadOnly' },
      { name: 'setpoint', type: 'INT', accessMode: 'ReadWrite', minimum: '5', maximum: '85' },
      { name: 'ratio', type: 'FLOAT', accessMode: 'ReadWrite' },
      { name: 'on', type: 'BOOLEAN', accessMode: 'ReadWrite' },
      { name: 'label', type: 'STRING', accessMode: 'ReadWrite' },
      { name: 'film', type: 'STREAM', accessMode: 'ReadOnly' },
    ],
  },
});

function message(properties: object[], more: object = {}): DeviceMessage {
  const spec = { deviceModelReference: 'm', properties };
  return deviceMessageSchema.parse({ name: 'boiler', namespace: 'default', spec, ...more });
}

/** Says what is called, and does what it is told. */
class Recorder implements Driver {
  static now: Recorder;
  readonly calls: string[] = [];
  readonly values: Scalar[] = [];
  running = 0;
  mostRunning = 0;
  does: (call: string) => Promise<unknown> = async () => 7;
  constructor() {
    Recorder.now = this;
    Recorder.prepare(this);
  }
  static prepare: (driver: Recorder) => void = () => {};
  async #call(call: string): Promise<unknown> {
    this.calls.push(call);
    this.running += 1;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    try {
      return await this.does(call);
    } finally {
      this.running -= 1;
    }
  }
  async init() {
    await this.#call('init');
  }
  async stop() {
    await this.#call('stop');
  }
  read({ name }: MapperProperty) {
    return this.#call(`read ${name}`);
  }
  async write({ name }: MapperProperty, value: Scalar) {
    this.values.push(value);
    await this.#call(`write ${name}`);
  }
  take(): string[] {
    return this.calls.splice(0);
  }
}

class StateRecorder extends Recorder {
  async state(): Promise<DeviceState> {
    return 'unhealthy';
  }
}

let worker: DeviceWorker;
let clock: ManualClock;
let twins: string[];
let states: string[];
let warnings: string[];
let pushes: string[];

function start(device: DeviceMessage, driverClass: new () => Recorder = Recorder): Recorder {
  clock = new ManualClock();
  [twins, states, warnings, pushes] = [[], [], [], []];
  const log = {
    debug() {},
    info() {},
    warn: (fields: object) => warnings.push(`${Object(fields).doing}: ${Object(fields).reason}`),
    error() {},
    child: () => log,
  };
  worker = new DeviceWorker(deviceSpec(device, model), driverClass, {
    clock,
    random: seededRandom(1),
    log,
    reports: {
      async twin(_, { property }, value) {
        twins.push(`${property.name} ${value}`);
        return true;
      },
      async state(_, state) {
        states.push(state);
        return true;
      },
    },
    push: {
      async http({ url }, property, value) {
        pushes.push(`${url} ${property} ${value}`);
      },
      async mqtt({ topic }, value) {
        pushes.push(`${topic} ${value}`);
      },
      async close() {},
    },
  });
  worker.start();
  return Recorder.now;
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function pass(ms: number): Promise<void> {
  await settle();
  await clock.advance(ms);
  await settle();
}

afterEach(async () => {
  Recorder.prepare = () => {};
  const stopped = worker.stop();
  await pass(20_000);
  await stopped;
});

describe('a device at work', () => {
  test('is started first, and read only when that has succeeded; meanwhile it is offline', async () => {
    let tries = 0;
    Recorder.prepare = (driver) => {
      driver.does = async (call) => {
        if (call !== 'init') return 7;
        tries += 1;
        if (tries < 3) throw new Error('no line');
        return undefined;
      };
    };
    const status = { reportToCloud: true, reportCycle: 100 };
    const driver = start(message([{ name: 'water', reportToCloud: true }], { status }));
    await pass(100);
    expect(driver.take()).toEqual(['init']);
    expect(states.at(-1)).toBe('offline');
    await expect(worker.read('water')).rejects.toThrow('default/boiler has not started yet: no line');
    await pass(600);
    await pass(2_000);
    expect(driver.take().slice(0, 3)).toEqual(['init', 'init', 'read water']);
    await pass(100);
    expect(states.at(-1)).toBe('online');
    expect(warnings).toEqual(['init: no line']);
  });

  test('is read every collectCycle, once a second when there is none, and not at all unless reported', async () => {
    const driver = start(
      message([
        { name: 'water', reportToCloud: true, collectCycle: 500 },
        { name: 'label', reportToCloud: true },
        { name: 'on' },
      ]),
    );
    await settle();
    expect(driver.take()).toEqual(['init', 'read water', 'read label']);
    for (let at = 0; at < 4; at += 1) await pass(500);
    expect(driver.take().sort()).toEqual([...Array(2).fill('read label'), ...Array(4).fill('read water')]);
    expect(twins.filter((twin) => twin === 'water 7')).toHaveLength(5);
  });

  test('is read every reportCycle for its pushes', async () => {
    const pushMethod = {
      http: { hostname: 'http://127.0.0.1', port: 80, requestpath: '/in' },
      mqtt: { address: 'mqtt://127.0.0.1', topic: 'hall/water' },
    };
    start(message([{ name: 'water', reportCycle: 300, pushMethod }]));
    await settle();
    await pass(300);
    expect(pushes).toEqual(Array(2).fill(['http://127.0.0.1:80/in water 7', 'hall/water 7']).flat());
    expect(twins).toEqual([]);
  });

  test('gets each wish once, typed by the model; another wish gets it without a new driver', async () => {
    const wishes = (setpoint: string) =>
      message([
        { name: 'setpoint', desired: { value: setpoint } },
        { name: 'ratio', desired: { value: '1.5' } },
        { name: 'on', desired: { value: 'true' } },
        { name: 'label', desired: { value: 'hall' } },
        { name: 'water', desired: { value: '3' } },
      ]);
    const driver = start(wishes('21'));
    await pass(10_000);
    expect(driver.values).toEqual([21, 1.5, true, 'hall']);
    expect(worker.change(deviceSpec(wishes('22'), model))).toBe(true);
    await pass(10_000);
    expect(driver.values).toEqual([21, 1.5, true, 'hall', 22]);
    expect(driver.take().filter((call) => call === 'init')).toHaveLength(1);
    const other = message([{ name: 'water' }]);
    expect(worker.change(deviceSpec(other, model))).toBe(false);
  });

  test('gets a wish that failed again, after growing pauses, and says once why', async () => {
    let isStuck = true;
    const driver = start(message([{ name: 'setpoint', desired: { value: '21' } }]));
    driver.does = async (call) => {
      if (call === 'write setpoint' && isStuck) throw new Error('stuck');
    };
    await settle();
    for (let at = 0; at < 10; at += 1) await pass(1_000);
    const tries = driver.take().filter((call) => call === 'write setpoint').length;
    expect(tries).toBeGreaterThan(2);
    expect(tries).toBeLessThan(8);
    expect(warnings).toEqual(['write setpoint: stuck']);
    isStuck = false;
    await pass(30_000);
    expect(driver.take()).toEqual(['write setpoint']);
  });

  test.each([
    ['setpoint', '99', 'setpoint is from 5 to 85, not 99'],
    ['setpoint', 'warm', '"warm" is no int'],
    ['on', 'yes', '"yes" is no boolean'],
  ])('is not written %s %s', async (name, value, reason) => {
    const driver = start(message([{ name, desired: { value } }]));
    await pass(1_000);
    expect(driver.values).toEqual([]);
    expect(warnings).toEqual([`write ${name}: ${reason}`]);
    await expect(worker.write('water', '1')).rejects.toThrow('water');
  });

  test('is called by one at a time, and what takes longer than ten seconds has failed', async () => {
    const properties = ['water', 'label'].map((name) => ({ name, reportToCloud: true, collectCycle: 100 }));
    const driver = start(message(properties));
    driver.does = (call) => (call === 'init' ? Promise.resolve() : new Promise(() => {}));
    await pass(10_000);
    await pass(10_000);
    expect(warnings).toContain('report water: the driver took longer than 10000 ms');
    const other = start(message(properties));
    other.does = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return 7;
    };
    for (let at = 0; at < 10; at += 1) await pass(100);
    expect(other.mostRunning).toBe(1);
    expect(twins.length).toBeGreaterThan(10);
  });

  test('is online while reads succeed and offline when they do not, unless the driver knows better', async () => {
    const status = { reportToCloud: true, reportCycle: 1_000 };
    const properties = [{ name: 'water', reportToCloud: true, collectCycle: 100 }];
    const driver = start(message(properties, { status }));
    await pass(1_000);
    expect(states.at(-1)).toBe('online');
    driver.does = async () => Promise.reject(new Error('no line'));
    await pass(900);
    await pass(1_000);
    expect(states.at(-1)).toBe('offline');
    await worker.stop();
    start(message(properties, { status }), StateRecorder);
    await pass(1_000);
    expect(states.at(-1)).toBe('unhealthy');
  });

  test('is stopped last, and then left alone', async () => {
    const driver = start(message([{ name: 'water', reportToCloud: true }]));
    await pass(1_000);
    const stopped = worker.stop();
    await pass(0);
    await stopped;
    expect(driver.take().at(-1)).toBe('stop');
    await pass(5_000);
    expect(driver.take()).toEqual([]);
  });

  test('says what is asked of it that nothing here does, and does the rest', async () => {
    const pushMethod = {
      otel: { endpointURL: 'http://x' },
      dbMethod: { redis: { redisClientConfig: { addr: 'x' } }, influxdb2: null },
      anomalyDetection: { data: {} },
    };
    start(message([{ name: 'water', reportToCloud: true, pushMethod }, { name: 'film' }]));
    await pass(1_000);
    const unserved = (what: string) =>
      `${what} is nothing that this mapper does: drop it, or use a mapper that does`;
    expect(warnings).toEqual([
      `serve water: ${unserved('pushMethod.otel')}`,
      `serve water: ${unserved('pushMethod.dbMethod.redis')}`,
      `serve water: ${unserved('pushMethod.anomalyDetection')}`,
      `serve film: ${unserved('type STREAM')}`,
    ]);
    expect(twins).toEqual(['water 7', 'water 7']);
  });
});
