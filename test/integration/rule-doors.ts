/** The listeners of rules: the router's port in the cloud, and ServiceBus for apps at the edge. */

import type { RequestListener } from 'node:http';
import { systemClock } from '#beehive/clock.ts';
import { keepListening } from '#beehive/http-listener.ts';
import { silentLog } from '#beehive/log.ts';
import type { EdgeCalls } from '#cloudcore/router/edge-calls.ts';
import { createRestFront } from '#cloudcore/router/rest-front.ts';
import { planRules } from '#cloudcore/router/rule-set.ts';
import { createAppHandler } from '#edgecore/servicebus/app-server.ts';
import { httpListenerLimits, ruleLimits } from '#protocol/limits.ts';
import type { Envelope } from '#protocol/message.ts';
import type { Door } from './doors.ts';

const emptyAnswer = (envelope: Envelope): Envelope => ({
  header: { msg_id: 'answer', parent_msg_id: envelope.header.msg_id, timestamp: 0 },
  route: { source: 'servicebus', group: 'user', operation: 'upload', resource: '' },
  content: { header: {}, status_code: 200, body: '' },
});

const rules = planRules(
  [
    {
      metadata: { name: 'r', namespace: 'default' },
      spec: { source: 'c', sourceResource: { path: '/a' }, target: 'a', targetResource: { path: '/' } },
    },
  ],
  [
    { metadata: { name: 'c', namespace: 'default' }, spec: { ruleEndpointType: 'rest' } },
    {
      metadata: { name: 'a', namespace: 'default' },
      spec: { ruleEndpointType: 'servicebus', properties: { service_port: '80' } },
    },
  ],
);

export function ruleDoors(times: { slowMs: number; checkIntervalMs: number }): Promise<Door>[] {
  return [routerDoor(times), serviceBusDoor(times)];
}

async function routerDoor(times: { slowMs: number; checkIntervalMs: number }): Promise<Door> {
  const calls: Pick<EdgeCalls, 'send' | 'sessionOf'> = {
    send: async (_node, envelope) => emptyAnswer(envelope),
    sessionOf: () => 'hawser',
  };
  const front = createRestFront({
    calls,
    routes: () => rules.rest,
    isNode: () => true,
    clock: systemClock,
    token: undefined,
    timeoutMs: 60_000,
    count: () => {},
  });
  return {
    ...(await open(front, times)),
    name: 'the router',
    tls: undefined,
    headerBytesMax: httpListenerLimits.headerBytesMax,
    bodyMethod: 'POST',
    bodyPath: '/edge-1/default/a',
    bodyHeaders: '',
    bodyBytesMax: ruleLimits.serviceBusBodyBytesMax,
    request: 'GET /edge-1/default/a HTTP/1.1\r\nHost: x\r\n\r\n',
    answer: 'HTTP/1.1 200 ',
  };
}

async function serviceBusDoor(times: { slowMs: number; checkIntervalMs: number }): Promise<Door> {
  const handler = createAppHandler({
    isAllowed: () => true,
    token: undefined,
    ask: async () => ({ code: 200, msg: 'ok', body: '' }),
  });
  return {
    ...(await open(handler, times)),
    name: 'ServiceBus for apps',
    tls: undefined,
    headerBytesMax: httpListenerLimits.headerBytesMax,
    bodyMethod: 'POST',
    bodyPath: '/',
    bodyHeaders: '',
    bodyBytesMax: ruleLimits.serviceBusBodyBytesMax,
    request: 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n{"targetURL":"u"}',
    answer: 'HTTP/1.1 200 ',
  };
}

async function open(
  handler: RequestListener,
  { slowMs, checkIntervalMs }: { slowMs: number; checkIntervalMs: number },
): Promise<Pick<Door, 'port' | 'close'>> {
  const stop = new AbortController();
  const limits = {
    ...httpListenerLimits,
    headersTimeoutMs: slowMs,
    requestTimeoutMs: slowMs,
    checkIntervalMs,
  };
  let running: Promise<void> = Promise.resolve();
  const port = await new Promise<number>((opened) => {
    running = keepListening(
      { host: '127.0.0.1', port: 0, limits, complaint: 'not open' },
      handler,
      { clock: systemClock, log: silentLog },
      stop.signal,
      { opened },
    );
  });
  const close = async () => {
    stop.abort();
    await running;
  };
  return { port, close };
}
