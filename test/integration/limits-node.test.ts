/** What one node may say: beyond its burst it is read more slowly, and a neighbour does not notice. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ManualClock, systemClock } from '#beehive/clock.ts';
import { deliveryLimits } from '#protocol/limits.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { startCloud } from '#test/fixtures/cloud.ts';
import { ScriptedEdge } from '#test/fixtures/scripted-edge.ts';

const keepalive = { source: 'websocket', group: 'resource', operation: 'keepalive', resource: 'node' };
const query = (node: string) => ({
  source: 'edged',
  group: 'meta',
  operation: 'query',
  resource: `default/node/${node}`,
});

test('a node that floods waits for its turn, and its neighbour does not', async () => {
  const transport = createWebSocketTransport({ clock: systemClock });
  const clock = new ManualClock(Date.now());
  const cloud = await startCloud({ transport, clock });
  const connect = async (node: string) => {
    await cloud.addNode(node);
    const identity = await cloud.identity(node);
    return ScriptedEdge.connect({ transport, port: cloud.port, node, identity, session: 'hawser' });
  };
  const [loud, quiet] = [await connect('loud'), await connect('quiet')];
  const beyond = 100;
  const flood = Array.from({ length: deliveryLimits.upstreamBurst + beyond }, () =>
    loud.say(keepalive, 'ping'),
  );
  await Promise.all(flood);
  const late = await loud.say(query('loud'), undefined);
  const isAnswered = () => loud.down.some(({ header }) => header.parent_msg_id === late);

  await quiet.answerTo(await quiet.say(query('quiet'), undefined));
  await delay(300);
  expect(isAnswered()).toBe(false);
  // Each turn lets one more through, and time does not pass by itself here.
  while (!isAnswered()) {
    await clock.advance(1_000 / deliveryLimits.upstreamPerSecond);
    await delay(1);
  }
  await Promise.all([loud.connection.close(), quiet.connection.close()]);
  await cloud.close();
});
