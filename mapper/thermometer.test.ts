import { createServer } from 'node:net';
import { Aedes } from 'aedes';
import { expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { parseOptions } from './options.ts';
import { runThermometer, Thermometer } from './thermometer.ts';

const device = '$hw/events/device/default/thermo';
const options = { broker: '', device: 'default/thermo', property: 'temperature', intervalMs: 10 };

test('moves a degree at a time toward what is wanted, and stays there', () => {
  const thermometer = new Thermometer(options, seededRandom(1));
  thermometer.hear(`${device}/twin/update/delta`, '{"delta":{"temperature":"23","other":"5"}}');
  const seen = Array.from({ length: 5 }, () => {
    thermometer.measure();
    return thermometer.degrees;
  });
  expect(seen).toEqual([21, 22, 23, 23, 23]);
});

test('does not stumble over what it cannot use', () => {
  const thermometer = new Thermometer(options, seededRandom(1));
  for (const body of [
    '',
    'null',
    '[]',
    '{"delta":null}',
    '{"delta":{"temperature":"hot"}}',
    '{"delta":{}}',
  ]) {
    thermometer.hear(`${device}/twin/update/delta`, body);
  }
  expect(thermometer.degrees).toBe(20);
});

test('says that it is online, and asks for its twin, until it is answered', () => {
  const thermometer = new Thermometer(options, seededRandom(1));
  const topics = () => thermometer.reports(1).map(({ topic }) => topic.replace(`${device}/`, ''));
  thermometer.hear(`${device}/twin/get/result`, '{"code":404,"reason":"not found"}');
  expect(topics()).toEqual(['state/update', 'twin/get', 'twin/update']);
  thermometer.hear(`${device}/state/update/result`, '{"device":{}}');
  thermometer.hear(`${device}/twin/get/result`, '{"twin":{"temperature":{"expected":{"value":"7"}}}}');
  expect(topics()).toEqual(['twin/update']);
  thermometer.measure();
  expect(thermometer.degrees).toBe(19);
  thermometer.forgetTold();
  expect(topics()).toEqual(['state/update', 'twin/get', 'twin/update']);
});

test('over a real broker: reports, follows, and goes on when the broker comes back', async () => {
  let broker = await Aedes.createBroker();
  let server = createServer(broker.handle);
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await listen(0);
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const values = () =>
    new Promise<string>((resolve) => {
      broker.on('publish', ({ topic, payload }) => {
        if (topic === `${device}/twin/update`) {
          resolve(JSON.parse(payload.toString()).twin.temperature.actual.value);
        }
      });
    });
  const stop = new AbortController();
  const running = runThermometer(
    { ...options, broker: `mqtt://127.0.0.1:${port}` },
    { clock: systemClock, random: seededRandom(1), say: () => {} },
    stop.signal,
  );
  expect(await values()).toMatch(/^\d+$/);
  const close = async () => {
    await new Promise<void>((resolve) => broker.close(resolve));
    await new Promise((resolve) => server.close(resolve));
  };
  await close();
  broker = await Aedes.createBroker();
  server = createServer(broker.handle);
  await listen(port);
  expect(await values()).toMatch(/^\d+$/);
  stop.abort();
  await running;
  await close();
});

test('its command line says what is missing', () => {
  expect(parseOptions(['--broker', 'mqtt://127.0.0.1:1884', '--device', 'default/thermo'])).toEqual({
    broker: 'mqtt://127.0.0.1:1884',
    device: 'default/thermo',
    property: 'temperature',
    intervalMs: 1_000,
  });
  expect(() => parseOptions(['--device', 'a/b'])).toThrow(/--broker/);
  expect(() => parseOptions(['--broker', 'mqtt://h', '--device', 'a'])).toThrow(/--device/);
  expect(() => parseOptions(['--broker', 'mqtt://h', '--device', 'a/b', '--interval-ms', 'x'])).toThrow(
    /interval/,
  );
  expect(() => parseOptions(['--nonsense'])).toThrow(/nonsense[\s\S]*usage/);
});
