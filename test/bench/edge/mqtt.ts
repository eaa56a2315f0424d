/** QoS 1 from one client to another, fifty in flight: through the embedded broker, mosquitto, and a bare aedes. */

import { connectAsync } from 'mqtt';
import type { BenchCloud } from '../cloud.ts';
import type { Figure } from '../figures.ts';
import { type OtherBroker, startEchoBroker, startMosquitto } from './brokers.ts';
import { startEdge } from './edge.ts';
import { type Rate, rate } from './reporter.ts';

const seconds = 6;
const body = 'x'.repeat(200);

export async function benchMqtt(cloud: BenchCloud): Promise<Figure[]> {
  const edge = await startEdge(cloud);
  const others: [string, OtherBroker][] = [['a bare aedes', await startEchoBroker()]];
  const mosquitto = await startMosquitto(cloud.dir);
  if (mosquitto !== undefined) others.push(['mosquitto', mosquitto]);
  try {
    const figures: Figure[] = [];
    const brokers = [['the embedded broker', edge.broker], ...others.map(([who, { url }]) => [who, url])];
    for (const [who = '', url = ''] of brokers) {
      const { perSecond, p99Ms } = await through(url.replace(/^tcp/, 'mqtt'));
      const what = `QoS 1 to another client through ${who}`;
      figures.push(
        { what, value: perSecond, unit: '/s' },
        { what: `${what}, p99`, value: p99Ms, unit: 'ms' },
      );
    }
    return figures;
  } finally {
    for (const [, broker] of others) await broker.close();
    await edge.close();
  }
}

async function through(url: string): Promise<Rate> {
  const [writer, reader] = [await connectAsync(url), await connectAsync(url)];
  const waiting = new Map<string, () => void>();
  reader.on('message', (_, payload) => {
    const id = payload.toString('utf8', 0, payload.indexOf(' '));
    waiting.get(id)?.();
    waiting.delete(id);
  });
  await reader.subscribeAsync('bench/+', { qos: 1 });
  let number = 0;
  const measured = await rate(50, seconds, async (lane) => {
    number += 1;
    const id = String(number);
    const beganMs = performance.now();
    const heard = new Promise<void>((resolve) => waiting.set(id, resolve));
    await writer.publishAsync(`bench/${lane}`, `${id} ${body}`, { qos: 1 });
    await heard;
    return { ms: performance.now() - beganMs, refused: false };
  });
  await Promise.all([writer.endAsync(), reader.endAsync()]);
  return measured;
}
