/** Values that go elsewhere than to the edge: by HTTP and by MQTT, in the words of KubeEdge's mappers. */

import type { MqttClient } from 'mqtt';
import type { Clock } from '#beehive/clock.ts';
import { MapperError } from './mapper-error.ts';
import type { HttpPush, MqttPush } from './spec.ts';
import { pushTime } from './values.ts';

export interface Push {
  /** @throws what fetch throws, MapperError */
  http(to: HttpPush, property: string, value: string, signal: AbortSignal): Promise<void>;
  /** @throws MapperError */
  mqtt(to: MqttPush, value: string): Promise<void>;
  close(): Promise<void>;
}

const brokersMax = 16;
const connectTimeoutMs = 5_000;
const reconnectMs = 2_000;

/** One connection a broker, kept; what cannot go now is dropped, the next value follows. */
export function createPush({ clock }: { clock: Clock }): Push {
  const brokers = new Map<string, MqttClient>();
  const brokerOf = async (address: string): Promise<MqttClient> => {
    const known = brokers.get(address);
    if (known !== undefined) return known;
    if (brokers.size >= brokersMax)
      throw new MapperError(`pushes go to ${brokersMax} brokers`, { code: 'busy' });
    const { default: mqtt } = await import('mqtt');
    const raced = brokers.get(address);
    if (raced !== undefined) return raced;
    const client = mqtt.connect(address, {
      protocolVersion: 4,
      reconnectPeriod: reconnectMs,
      connectTimeout: connectTimeoutMs,
      queueQoSZero: false,
    });
    client.on('error', () => {});
    brokers.set(address, client);
    return client;
  };
  return {
    async http({ url, timeoutMs }, property, value, signal) {
      const body = new URLSearchParams({ [property]: value, time: pushTime(clock.now()) }).toString();
      const answer = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: body.replaceAll('+', '%20'),
        redirect: 'error',
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      });
      await answer.body?.cancel();
      if (!answer.ok) throw new MapperError(`${url} answered ${answer.status}`, { code: 'not-sent' });
    },
    async mqtt({ address, topic, qos, retained }, value) {
      const client = await brokerOf(address);
      if (!client.connected) throw new MapperError(`no connection to ${address}`, { code: 'not-sent' });
      const text = `time is ${pushTime(clock.now())}  ${topic}: ${value}`;
      client.publish(topic, text, { qos, retain: retained }, () => {});
    },
    async close() {
      await Promise.all([...brokers.values()].map((client) => client.endAsync(true)));
    },
  };
}
