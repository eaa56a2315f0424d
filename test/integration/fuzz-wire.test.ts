/**
 * Hostile frames over a real WebSocket with TLS: a node with a good certificate at a whole cloudcore, and a cloud with
 * a good certificate at a whole edge. Each lives, fails nowhere inside, and serves a good peer at the end.
 */

import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { systemClock } from '#beehive/clock.ts';
import { type Log, silentLog } from '#beehive/log.ts';
import { HawserError, ProtocolError } from '#protocol/errors.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import type { TlsIdentity } from '#protocol/transport/transport.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { decodeFrame, encodeFrame } from '#protocol/wire/json-frame.ts';
import { createTestAuthority } from '#test/certificates.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { givenCertificates, startEdge } from '#test/fixtures/edge.ts';
import { ScriptedEdge } from '#test/fixtures/scripted-edge.ts';
import { Chaos } from '#test/fuzz/chaos.ts';
import { jsonOf, loadCorpus } from '#test/fuzz/corpus.ts';

const transport = createWebSocketTransport({ clock: systemClock });
const corpus = loadCorpus();

/** Frames that pass the door come in long rows; one that does not ends the connection. */
const rows = { count: 12, frames: 100 };

class ErrorLog {
  readonly errors: string[] = [];
  readonly log: Log = {
    ...silentLog,
    error: (fields, text) => this.#keep(fields, text),
    // A warning about an error that is not ours hides a mistake.
    warn: (fields, text) => {
      if ('err' in fields && !(fields.err instanceof HawserError)) this.#keep(fields, text);
    },
    child: () => this.log,
  };

  #keep(fields: object, text: string): void {
    const error = 'err' in fields && fields.err instanceof Error ? fields.err.stack : '';
    this.errors.push(`${text} ${error}`);
  }
}

function passes(text: string): boolean {
  try {
    decodeFrame(text);
    return true;
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}

/** Mutations of recorded frames; the last is one that is no envelope. */
function rowOf(chaos: Chaos, frames: readonly Envelope[]): string[] {
  const row: string[] = [];
  while (row.length < rows.frames) {
    const frame = chaos.pick(frames);
    const changed = chaos.chance(0.5)
      ? JSON.stringify({ ...frame, content: '@' }).replace('"@"', () => chaos.json(jsonOf(frame.content)))
      : chaos.json(jsonOf(frame));
    if (passes(changed)) row.push(changed);
  }
  for (let text = ''; ; text = chaos.json(jsonOf(chaos.pick(frames))))
    if (!passes(text)) return [...row, text];
}

async function attack(
  cloud: Cloud,
  identity: TlsIdentity,
  row: readonly string[],
  ours: boolean,
): Promise<void> {
  const { ca, cert, key } = identity;
  const socket = new WebSocket(`wss://127.0.0.1:${cloud.port}/project/hostile/events`, {
    ca,
    cert,
    key,
    headers: {
      node_id: 'hostile',
      project_id: 'project',
      ConnectionUse: 'msg',
      ...(ours ? { 'Hawser-Session': '1' } : {}),
    },
  });
  socket.on('error', () => {});
  const closed = once(socket, 'close');
  await Promise.race([once(socket, 'open'), closed]);
  for (const text of row) if (socket.readyState === socket.OPEN) socket.send(text);
  await closed;
}

test('a node that sends nonsense harms neither cloudcore nor another node', async () => {
  const { errors, log } = new ErrorLog();
  const cloud = await startCloud({ transport, log });
  for (const node of ['hostile', 'good']) await cloud.addNode(node);
  await cloud.addPod('good', 'web');
  const identity = await cloud.identity('hostile');
  for (let at = 0; at < rows.count; at += 1) {
    await attack(cloud, identity, rowOf(new Chaos(at + 1), corpus.up), at % 2 === 0);
  }
  const good = await ScriptedEdge.connect({
    transport,
    port: cloud.port,
    node: 'good',
    identity: await cloud.identity('good'),
    session: 'kubeedge',
  });
  const route = { source: 'edged', group: 'meta', operation: 'query', resource: 'default/node/good' };
  const answer = await good.answerTo(await good.say(route, undefined));
  expect(answer.content).toMatchObject({ metadata: { name: 'good' } });
  await good.until(() => good.down.some((frame) => frame.route.resource === 'default/pod/web'));
  expect(errors).toEqual([]);
  expect(Reflect.get({}, 'polluted')).toBeUndefined();
  await good.connection.close();
  await cloud.close();
});

test('a cloud that sends nonsense does not harm an edge, which then serves a good one', async () => {
  const { errors, log } = new ErrorLog();
  const authority = await createTestAuthority();
  const tls = await authority.issue('CN=cloud');
  const server = createServer({ ...tls, requestCert: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  // Listening on TCP, so the address is no text.
  const { port } = server.address() as AddressInfo;
  const hub = new WebSocketServer({ server });
  const waiting: WebSocket[] = [];
  hub.on('connection', (socket) => {
    socket.on('error', () => {});
    waiting.push(socket);
  });
  const edge = await startEdge({
    nodeName: 'ke-edge-1',
    transport,
    server: `127.0.0.1:${port}`,
    certificates: givenCertificates(await authority.issue('CN=system:node:ke-edge-1,O=system:nodes')),
    log,
  });
  const nextSocket = async (count: number): Promise<WebSocket> => {
    await edge.connected(count);
    while (waiting.length < count) await new Promise((resolve) => setImmediate(resolve));
    return waiting[count - 1] ?? expect.fail('no connection');
  };
  const hostileRows = 3;
  for (let at = 1; at <= hostileRows; at += 1) {
    const socket = await nextSocket(at);
    const closed = once(socket, 'close');
    for (const text of rowOf(new Chaos(100 + at), corpus.down)) socket.send(text);
    await closed;
  }
  const good = await nextSocket(hostileRows + 1);
  const acknowledged = new Promise<Envelope>((resolve) => {
    good.on('message', (data) => {
      const envelope = decodeFrame(String(data));
      if (envelope.header.parent_msg_id === question.header.msg_id) resolve(envelope);
    });
  });
  const content = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'good', namespace: 'default' } };
  const question = newEnvelope(
    { source: 'edgecontroller', group: 'resource', operation: 'insert', resource: 'default/configmap/good' },
    content,
    { resourceVersion: '1' },
  );
  good.send(encodeFrame(question));
  expect((await acknowledged).content).toBe('OK');
  expect(errors).toEqual([]);
  expect(Reflect.get({}, 'polluted')).toBeUndefined();
  await edge.close();
  hub.close();
  for (const socket of waiting) socket.terminate();
  server.close();
});
