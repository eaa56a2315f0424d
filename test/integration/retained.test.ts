/** A client that retains a million messages, each under a topic of its own, beside another that works on. */

import { once } from 'node:events';
import { connect } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { client, TestBus } from '#edgecore/eventbus/test-bus.ts';
import { brokerLimits } from '#protocol/limits.ts';
import { freePort } from '#test/free-port.ts';

const retainedCount = 1_000_000;
const perWrite = 1_000;
/** Of both ends, which are in this process; unbounded, a million messages would take some 500 MB. */
const growthBytesMax = 32 * 1024 * 1024;

test('what it retains is bounded, and the other is answered all the while', {
  timeout: 600_000,
}, async () => {
  const port = await freePort();
  const edge = await new TestBus().start({ mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${port}` });
  const other = await client(port);
  await other.mqtt.subscribeAsync('other/#', { qos: 1 });
  const before = heapBytes();

  const flood = connect({ host: '127.0.0.1', port });
  await once(flood, 'connect');
  flood.write(
    Buffer.from([0x10, 17, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 0, 0, 5, ...Buffer.from('flood')]),
  );
  await once(flood, 'data');
  for (let at = 0; at < retainedCount; at += perWrite) {
    const packets = Array.from({ length: perWrite }, (_, more) =>
      retained(`flood/${at + more}`, 'x'.repeat(64)),
    );
    if (!flood.write(Buffer.concat(packets))) await once(flood, 'drain');
    if (at % 100_000 === 0) await other.mqtt.publishAsync('other/x', `${at}`, { qos: 1 });
  }
  // A ping is answered behind all of it.
  flood.write(Buffer.from([0xc0, 0]));
  await once(flood, 'data');

  await other.until(retainedCount / 100_000);
  expect(await edge.count('reason="retain"')).toBe(retainedCount - brokerLimits.retainedMax);
  const grownBytes = heapBytes() - before;
  process.stdout.write(`${retainedCount} retained messages: the heap grew by ${grownBytes} bytes\n`);
  expect(grownBytes).toBeLessThan(growthBytesMax);
  flood.destroy();
  other.mqtt.end(true);
  await edge.end();
});

function retained(topic: string, payload: string): Buffer {
  const body = Buffer.concat([Buffer.from([0, topic.length]), Buffer.from(topic), Buffer.from(payload)]);
  return Buffer.concat([Buffer.from([0x31, body.length]), body]);
}

/** After collection. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect === 'function') collect();
  return process.memoryUsage().heapUsed;
}
