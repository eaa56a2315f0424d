/**
 * The three modes of EventBus as a user meets them: mosquitto_pub and mosquitto_sub at the embedded broker, at
 * mosquitto, and at both; plain, and with TLS and credentials. A whole edge, and a whole cloud behind a real WebSocket
 * (SC-56, SC-59, SC-60).
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import type { EventBusConfig } from '#edgecore/eventbus/config.ts';
import { client } from '#edgecore/eventbus/test-bus.ts';
import { deviceStatusSchema } from '#protocol/resources/device-status.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { beatsOf } from '#test/beats.ts';
import { createTestAuthority } from '#test/certificates.ts';
import { describeUnless } from '#test/describe-unless.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { type Edge, givenCertificates, startEdge } from '#test/fixtures/edge.ts';
import {
  MosquittoBroker,
  MosquittoSubscriber,
  mosquittoMissing,
  mosquittoPublish,
} from '#test/fixtures/mosquitto.ts';
import { freePort } from '#test/free-port.ts';
import { TcpPath } from '#test/tcp-path.ts';

const node = 'edge-1';
const device = '$hw/events/device/default/thermo';
const kind = (plural: string) => ({
  apiVersion: 'devices.kubeedge.io/v1beta1',
  plural,
  namespace: 'default',
});

interface Mode {
  readonly name: string;
  readonly mqttMode: 0 | 1 | 2;
  readonly secure?: true;
}

const modes: readonly Mode[] = [
  { name: 'mode 0, the embedded broker', mqttMode: 0 },
  { name: 'mode 1, both brokers', mqttMode: 1 },
  { name: 'mode 2, mosquitto', mqttMode: 2 },
  { name: 'mode 0 with TLS and users', mqttMode: 0, secure: true },
  { name: 'mode 2 with TLS and credentials', mqttMode: 2, secure: true },
];

describeUnless(mosquittoMissing, 'mosquitto’s clients', () => {
  describe.each(modes)('$name', (mode) => {
    let world: World;
    beforeAll(async () => {
      world = await World.begin(mode);
    });
    afterAll(() => world.end());

    test('speak and hear with QoS 0, 1 and 2, and find what is retained', async () => {
      for (const port of world.ports)
        for (const qos of ['0', '1', '2']) {
          const listener = await world.subscribe(port, ['-q', qos, '-t', 'talk/+']);
          await world.publish(port, 'talk/x', `qos ${qos}`, ['-q', qos]);
          expect(await listener.take('talk/x')).toMatchObject({ payload: `qos ${qos}`, retain: 0 });
          await world.publish(port, 'talk/kept', `kept ${qos}`, ['-q', qos, '-r']);
          expect(await listener.take('talk/kept')).toMatchObject({ retain: 0 });
          const late = await world.subscribe(port, ['-q', qos, '-t', 'talk/+']);
          expect(await late.take('talk/kept')).toMatchObject({ payload: `kept ${qos}`, retain: 1 });
          // Acknowledged, so that it cannot come after the next one that is retained.
          await world.publish(port, 'talk/kept', '', ['-q', '1', '-r']);
          await Promise.all([listener.stop(), late.stop()]);
        }
    });

    test('report, and see it in the cloud', async () => {
      for (const [at, port] of world.ports.entries()) {
        for (const qos of ['0', '1', '2']) {
          const value = `${at}${qos}`;
          const listener = await world.subscribe(port, ['-q', qos, '-t', `${device}/twin/update/+`]);
          await world.report(port, value, ['-q', qos]);
          const { payload } = await listener.take(`${device}/twin/update/result`);
          expect(JSON.parse(payload)).toMatchObject({ twin: { temperature: { actual: { value } } } });
          await listener.take(`${device}/twin/update/document`);
          await listener.stop();
        }
        await expect.poll(() => world.reported()).toBe(`${at}2`);
      }
    });

    test('hear a wish of the cloud at once: within 100 ms', async () => {
      const [port = 0] = world.ports;
      const listener = await world.subscribe(port, ['-t', `${device}/twin/update/delta`]);
      const times: number[] = [];
      for (let value = 40; value < 50; value += 1) {
        const heard = listener.take(`${device}/twin/update/delta`, (it) =>
          it.includes(`"temperature":"${value}"`),
        );
        times.push(await beatsOf(Promise.all([world.wish(String(value)), heard])));
      }
      // Others may have the processor when one is on its way; of ten, one goes undisturbed.
      expect(Math.min(...times)).toBeLessThan(100);
      await listener.stop();
    });

    test('are answered while the cloud is away, and both sides hear of each other once it is back', async () => {
      const [port = 0] = world.ports;
      const listener = await world.subscribe(port, ['-q', '1', '-t', '$hw/events/#']);
      await world.cut();
      await world.publish(port, `$hw/events/node/${node}/membership/get`, '{"event_id":"m"}');
      const members = await listener.take(`$hw/events/node/${node}/membership/get/result`);
      expect(JSON.parse(members.payload)).toMatchObject({
        event_id: 'm',
        devices: [{ id: 'default/thermo' }],
      });
      await world.report(port, '77', ['-q', '1']);
      await listener.take(`${device}/twin/update/result`, (it) => it.includes('"77"'));
      await world.publish(port, `${device}/twin/get`, '{"event_id":"g"}');
      const twin = await listener.take(`${device}/twin/get/result`);
      expect(JSON.parse(twin.payload)).toMatchObject({ twin: { temperature: { actual: { value: '77' } } } });
      await world.publish(port, `${device}/state/update`, '{"event_id":"s","state":"online"}');
      await listener.take(`${device}/state/update/result`);
      const forged = {
        twin: { temperature: { actual: { value: '1' }, actual_version: { cloud: 9, edge: 9 } } },
      };
      await world.publish(port, `${device}/twin/cloud_updated`, JSON.stringify(forged));
      await world.wish('88');
      expect(await world.reported()).not.toBe('77');

      listener.messages.length = 0;
      await world.heal();
      await listener.take(`${device}/twin/update/delta`, (it) => it.includes('"temperature":"88"'));
      await expect
        .poll(() => world.status())
        .toMatchObject({
          state: 'online',
          twins: [{ reported: { value: '77' }, observedDesired: { value: '88' } }],
        });
      // The answer to this comes behind whatever else there was to hear.
      await world.publish(port, `${device}/twin/get`, '{"event_id":"last"}');
      await listener.take(`${device}/twin/get/result`, (it) => it.includes('"last"'));
      const wishes = listener.messages.filter(({ topic }) => topic.endsWith('/update/document'));
      expect(wishes).toHaveLength(1);
      await listener.stop();
    });

    if (mode.mqttMode !== 0)
      test('lose mosquitto and get it back: pods run meanwhile, and the edge is there within 5 s', async () => {
        const { outside, cloud, edge } = world;
        await outside.broker.stop();
        await cloud.addPod(node, 'meanwhile');
        const isRunning = () => edge.runtime.listContainers().then((all) => all.some(isRunningNow));
        await expect.poll(isRunning).toBe(true);
        await outside.broker.start(outside.lines);
        expect(await beatsOf(world.answers())).toBeLessThan(5_000);
        const listener = await world.subscribe(outside.broker.port, ['-t', `${device}/twin/update/result`]);
        await world.report(outside.broker.port, '99', ['-q', '1']);
        await listener.take(`${device}/twin/update/result`);
        await listener.stop();
      });
  });
});

function isRunningNow({ state }: { readonly state: string }): boolean {
  return state === 'running';
}

interface Outside {
  readonly broker: MosquittoBroker;
  readonly lines: readonly string[];
}

class World {
  readonly outside: Outside;
  readonly cloud: Cloud;
  readonly edge: Edge;
  /** Where clients may speak to the edge. */
  readonly ports: readonly number[];
  readonly #path: TcpPath;
  readonly #dir: string;
  readonly #login: readonly string[];
  readonly #options: object;

  private constructor(parts: Pick<World, 'outside' | 'cloud' | 'edge' | 'ports'> & Hidden) {
    this.outside = parts.outside;
    this.cloud = parts.cloud;
    this.edge = parts.edge;
    this.ports = parts.ports;
    this.#path = parts.path;
    this.#dir = parts.dir;
    this.#login = parts.login;
    this.#options = parts.options;
  }

  static async begin(mode: Mode): Promise<World> {
    const dir = mkdtempSync(join(tmpdir(), 'hawser-mosquitto-'));
    const [outer, inner] = [await freePort(), await freePort()];
    const access = mode.secure ? await secure(dir) : open;
    const outside = { broker: new MosquittoBroker(outer, dir), lines: access.lines };
    if (mode.mqttMode !== 0) await outside.broker.start(outside.lines);

    const transport = createWebSocketTransport({ clock: systemClock });
    const cloud = await startCloud({ transport });
    await cloud.api.create(kind('devicemodels'), {
      metadata: { name: 'm' },
      spec: { properties: [{ name: 'temperature', type: 'INT' }] },
    });
    const properties = [{ name: 'temperature', desired: { value: '21' } }];
    await cloud.api.create(kind('devices'), {
      metadata: { name: 'thermo' },
      spec: { nodeName: node, deviceModelRef: { name: 'm' }, properties },
    });
    const path = new TcpPath();
    const edge = await startEdge({
      nodeName: node,
      transport,
      server: `127.0.0.1:${await path.to(cloud.port)}`,
      certificates: givenCertificates(await cloud.identity(node)),
      mqtt: {
        mqttMode: mode.mqttMode,
        mqttServerExternal: `${mode.secure ? 'ssl' : 'tcp'}://127.0.0.1:${outer}`,
        mqttServerInternal: `tcp://127.0.0.1:${inner}`,
        ...access.config,
      },
    });
    const ports = [[inner], [inner, outer], [outer]][mode.mqttMode] ?? [];
    const { login, options } = access;
    const world = new World({ outside, cloud, edge, ports, path, dir, login, options });
    await world.answers();
    return world;
  }

  /** Resolves when the edge answers at every broker, and knows the device. */
  async answers(): Promise<void> {
    for (const port of this.ports) {
      const probe = await client(port, this.#options);
      await probe.mqtt.subscribeAsync(`${device}/twin/get/result`);
      const isKnown = () => probe.messages.some(({ payload }) => payload.includes('"expected"'));
      while (!isKnown()) {
        await probe.mqtt.publishAsync(`${device}/twin/get`, '{"event_id":"probe"}', { qos: 1 });
        await delay(50);
      }
      await probe.mqtt.endAsync(true);
    }
  }

  subscribe(port: number, args: readonly string[]): Promise<MosquittoSubscriber> {
    return MosquittoSubscriber.start(port, [...this.#login, ...args]);
  }

  publish(port: number, topic: string, payload: string, args: readonly string[] = []): Promise<void> {
    return mosquittoPublish(port, topic, payload, [...this.#login, ...args]);
  }

  report(port: number, value: string, args: readonly string[]): Promise<void> {
    const body = { event_id: 'r', timestamp: 0, twin: { temperature: { actual: { value } } } };
    return this.publish(port, `${device}/twin/update`, JSON.stringify(body), args);
  }

  /** As `kubectl patch` does it. */
  async wish(value: string): Promise<void> {
    const properties = [{ name: 'temperature', desired: { value } }];
    await this.cloud.api.patch({ ...kind('devices'), name: 'thermo' }, 'merge', { spec: { properties } });
  }

  async status() {
    const ref = { ...kind('devicestatuses'), name: 'thermo' };
    return deviceStatusSchema.parse(await this.cloud.api.get(ref)).status;
  }

  async reported(): Promise<string | undefined> {
    return (await this.status())?.twins?.[0]?.reported?.value;
  }

  /** Until it heals, no byte passes either way. */
  async cut(): Promise<void> {
    this.#path.silence();
    this.#path.cut();
    await this.edge.until(() => this.edge.news.at(-1) === 'cloud_disconnected');
  }

  async heal(): Promise<void> {
    this.#path.heal();
    await this.edge.until(() => this.edge.news.at(-1) === 'cloud_connected');
  }

  async end(): Promise<void> {
    await this.edge.close();
    await this.cloud.close();
    await this.#path.close();
    await this.outside.broker.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

interface Hidden {
  readonly path: TcpPath;
  readonly dir: string;
  readonly login: readonly string[];
  readonly options: object;
}

/** How a client, and the edge, come in at a broker. */
interface Access {
  /** Of mosquitto's config. */
  readonly lines: readonly string[];
  readonly config: Partial<EventBusConfig>;
  /** Arguments of mosquitto's clients. */
  readonly login: readonly string[];
  /** Of a client of this process. */
  readonly options: object;
}

const open: Access = { lines: ['allow_anonymous true'], config: {}, login: ['-h', '127.0.0.1'], options: {} };

async function secure(dir: string): Promise<Access> {
  const authority = await createTestAuthority();
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const broker = await authority.issue('CN=broker');
  const edge = await authority.issue('CN=edge');
  const ca = file('ca.pem', authority.ca);
  const [certfile, keyfile] = [file('broker.pem', broker.cert), file('broker.key', broker.key)];
  const [cert, key] = [file('edge.pem', edge.cert), file('edge.key', edge.key)];
  const passwords = file('passwords', 'edge:s3cret\n');
  spawnSync('mosquitto_passwd', ['-U', passwords]);
  return {
    lines: [
      `cafile ${ca}`,
      `certfile ${certfile}`,
      `keyfile ${keyfile}`,
      'require_certificate true',
      'allow_anonymous false',
      `password_file ${passwords}`,
      'user root',
    ],
    config: {
      mqttUsername: 'edge',
      mqttPassword: 's3cret',
      eventBusTLS: {
        enable: true,
        tlsMqttCAFile: ca,
        tlsMqttCertFile: cert,
        tlsMqttPrivateKeyFile: key,
      },
      internalBroker: {
        tls: { certFile: certfile, privateKeyFile: keyfile, clientCAFile: ca },
        users: [{ name: 'edge', password: 's3cret' }],
      },
    },
    login: ['-h', '127.0.0.1', '--cafile', ca, '--cert', cert, '--key', key, '-u', 'edge', '-P', 's3cret'],
    options: { protocol: 'mqtts', ...edge, username: 'edge', password: 's3cret' },
  };
}
