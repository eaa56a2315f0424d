/**
 * A thousand connects over real WebSocket and TLS, half of them of a node that is connected already. The newest
 * session holds, and at the end nothing is left of the others.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { TransportError } from '#protocol/errors.ts';
import { newEnvelope } from '#protocol/message.ts';
import type { Connection, TlsIdentity } from '#protocol/transport/transport.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';

const transport = createWebSocketTransport({ clock: systemClock });
const nodes = Array.from({ length: 10 }, (_, at) => `edge-${at}`);
const cyclesPerNode = 50;

interface Node {
  readonly name: string;
  readonly identity: TlsIdentity;
}

function dial(cloud: Cloud, { name, identity }: Node): Promise<Connection> {
  return transport.dial({
    url: `wss://127.0.0.1:${cloud.port}/project/${name}/events`,
    headers: { node_id: name, project_id: 'project', ConnectionUse: 'msg', 'Hawser-Session': '1' },
    tls: identity,
    handshakeTimeoutMs: 20_000,
    frameBytesMax: 1 << 20,
    signal: new AbortController().signal,
  });
}

/** Resolves when the cloud has answered on this connection, so it holds the node's session. */
async function isServed(connection: Connection, node: string): Promise<void> {
  const route = { source: 'edged', group: 'meta', operation: 'query', resource: `default/node/${node}` };
  const question = newEnvelope(route, undefined);
  await connection.send(question);
  for await (const { header } of connection.frames) {
    if (header.parent_msg_id === question.header.msg_id) return;
  }
  throw new Error('the connection ended without an answer');
}

/** Two connects: the second while the first is alive, and each of them ends in its own way. */
async function cycle(cloud: Cloud, node: Node, at: number): Promise<void> {
  const first = await dial(cloud, node);
  if (at % 3 === 0)
    await first.send(
      newEnvelope(
        { source: 'websocket', group: 'resource', operation: 'keepalive', resource: 'node' },
        'ping',
      ),
    );
  const second = await dial(cloud, node);
  await isServed(second, node.name);
  expect(await first.closed).toContain('replaced by a newer connection');
  if (at % 2 === 0) await second.close('done');
  else await hangUp(second);
}

/** Without waiting for the cloud to agree. */
async function hangUp(connection: Connection): Promise<void> {
  const closing = connection.close();
  await expect(
    connection.send(newEnvelope({ source: 'x', group: 'x', operation: 'x', resource: 'x' }, 0)),
  ).rejects.toThrow(TransportError);
  await closing;
}

function resources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) {
    // The test runner's own, which come and go.
    if (kind.startsWith('TCP') || kind.startsWith('TLS') || kind.startsWith('HTTP'))
      counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** Until what is under way has ended; a session's last news goes to the controllers when it is over. */
async function settled(cloud: Cloud, before: Record<string, number>): Promise<void> {
  const waiting = () => [...cloud.bus.depths().values()].reduce((sum, depth) => sum + depth, 0);
  await expect.poll(() => [waiting(), resources()]).toEqual([0, before]);
}

test('1,000 connects, half of them duplicates: the newest holds and nothing is left', async () => {
  const cloud = await startCloud({ transport });
  const connected = nodes.map(async (name): Promise<Node> => {
    await cloud.addNode(name);
    return { name, identity: await cloud.identity(name) };
  });
  const fleet = await Promise.all(connected);
  const around = async (cycles: number) => {
    await Promise.all(
      fleet.map(async (node) => {
        for (let at = 0; at < cycles; at += 1) await cycle(cloud, node, at);
      }),
    );
  };

  // The first round loads what is loaded once.
  await around(2);
  await delay(200);
  const before = resources();
  const depths = [...cloud.bus.depths()];
  const heapBefore = await heap();
  await around(cyclesPerNode);
  await settled(cloud, before);

  expect([...cloud.bus.depths()]).toEqual(depths);
  expect(await cloud.metrics()).toMatch(/^hawser_cloudhub_sessions 0$/m);
  // With 1,000 sessions kept this would be tens of MB.
  expect((await heap()) - heapBefore).toBeLessThan(8 * 1024 * 1024);
  const last = await dial(cloud, fleet[0] ?? expect.fail());
  await isServed(last, nodes[0] ?? '');
  expect(await cloud.metrics()).toMatch(/^hawser_cloudhub_sessions 1$/m);
  await last.close();
  await cloud.close();
});

async function heap(): Promise<number> {
  const { setFlagsFromString } = await import('node:v8');
  const { runInNewContext } = await import('node:vm');
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  for (let round = 0; round < 3; round += 1) {
    if (typeof collect === 'function') collect();
    await delay(20);
  }
  return process.memoryUsage().heapUsed;
}
