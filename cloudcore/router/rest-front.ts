/**
 * The router's port: a request for `/<node>/<namespace>/<path>` becomes a message to the node and its answer the
 * answer. Nothing is repeated; why something was not done is said with a status of its own, so that the caller can
 * decide: a status of 500 and above that is ours carries `Hawser-Error`, or from the edge `Server: hawser-edgecore`.
 */

import { isUtf8 } from 'node:buffer';
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Clock } from '#beehive/clock.ts';
import { BodyBudget, readBody } from '#beehive/http-listener.ts';
import { describeError, ProtocolError } from '#protocol/errors.ts';
import { endToEnd, type HeaderList, headerList, headerRecord, pairs } from '#protocol/http-call.ts';
import { mqttLimits, ruleLimits } from '#protocol/limits.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import { open } from '#protocol/open.ts';
import type { SessionKind } from '#protocol/session.ts';
import { ackHeader } from '#protocol/session.ts';
import { EdgeCallError, type EdgeCalls } from './edge-calls.ts';
import { matchRule, readRestRequest, resourceFor } from './rest-request.ts';
import type { EdgeTarget, RestRoute, RuleKey } from './rule-set.ts';

export interface RestFrontComponents {
  readonly calls: Pick<EdgeCalls, 'send' | 'sessionOf'>;
  /** Those of now. */
  readonly routes: () => readonly RestRoute[];
  /** False: the API has no such Node. */
  readonly isNode: (name: string) => boolean;
  readonly clock: Clock;
  /** Undefined: nobody needs one. */
  readonly token: string | undefined;
  readonly timeoutMs: number;
  /** Told once for each message of a rule. */
  readonly count: (rule: RuleKey, flow: RestFlow, failure: string | undefined) => void;
}

export type RestFlow = 'rest-eventbus' | 'rest-servicebus';

interface Answer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Uint8Array;
}

const heldBytesMax = 128 * 1024 * 1024;
const methods: Readonly<Record<EdgeTarget['kind'], ReadonlySet<string>>> = {
  eventbus: new Set(['POST', 'PUT']),
  servicebus: new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']),
};
const codeStatus: Readonly<Record<EdgeCallError['detail']['code'], number>> = {
  offline: 503,
  busy: 503,
  refused: 502,
  lost: 502,
  timeout: 504,
};

export function createRestFront(components: RestFrontComponents): RequestListener {
  const budget = new BodyBudget(heldBytesMax);
  return (request, response) => {
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    void answerTo(request, budget, components, gone.signal).then((answer) => write(response, answer));
  };
}

async function answerTo(
  request: IncomingMessage,
  budget: BodyBudget,
  components: RestFrontComponents,
  gone: AbortSignal,
): Promise<Answer> {
  const { token, routes, isNode, calls } = components;
  if (token !== undefined && !isToken(request.headers.authorization, token))
    return refuse(401, 'the router wants its token: Authorization: Bearer TOKEN');
  const asked = readRestRequest(request.url ?? '');
  if ('reason' in asked) return refuse(asked.status, asked.reason);
  const match = matchRule(asked, routes());
  if (match === undefined)
    return refuse(404, `no rule of namespace ${asked.namespace} has a path that this begins with`);
  const { target, rule } = match.route;
  const method = request.method ?? '';
  if (!methods[target.kind].has(method)) return refuse(405, `a rule to ${target.kind} takes no ${method}`);
  const resource = resourceFor(target, match.rest, asked.query);
  if (typeof resource !== 'string') return refuse(resource.status, resource.reason);
  if (!isNode(asked.node)) return refuse(404, `there is no node ${asked.node}`);
  const session = calls.sessionOf(asked.node);
  if (session === undefined) {
    const reason = `node ${asked.node} is not connected to this cloudcore; nothing was sent`;
    components.count(rule, flowOf(target), reason);
    return refuse(503, reason);
  }
  const body = await readBody(request, bodyBytesMax(target, session), budget);
  if ('refused' in body) {
    if (body.refused === 'no-room') return refuse(503, 'too much is on its way to edges; try again later');
    return refuse(413, `this rule takes at most ${bodyBytesMax(target, session)} bytes`);
  }
  try {
    const call = { node: asked.node, resource, target, session, rule };
    return await forward(call, request, body.bytes, components, gone);
  } finally {
    body.release();
  }
}

interface Call {
  readonly node: string;
  readonly resource: string;
  readonly target: EdgeTarget;
  readonly session: SessionKind;
  readonly rule: RuleKey;
}

async function forward(
  call: Call,
  request: IncomingMessage,
  body: Buffer,
  { calls, clock, count, timeoutMs, token }: RestFrontComponents,
  gone: AbortSignal,
): Promise<Answer> {
  const { node, target, session, rule } = call;
  const toMqtt = target.kind === 'eventbus';
  if (toMqtt && !isUtf8(body))
    return refuse(415, 'an MQTT message that goes through a rule is text in UTF-8');
  // Ours says whether a broker has it; KubeEdge's edge says nothing.
  const awaitsAnswer = !toMqtt || session === 'hawser';
  const envelope = toMqtt
    ? publication(call, body, clock.now())
    : httpCall(call, request, body, { nowMs: clock.now(), withoutToken: token !== undefined });
  const flow = flowOf(target);
  try {
    const options = { awaitsAnswer, timeoutMs, bytes: body.length, signal: gone };
    const answer = await calls.send(node, envelope, options);
    const read = toMqtt ? publishedAnswer(answer) : appAnswer(answer);
    count(rule, flow, read.failure);
    return read.answer;
  } catch (error) {
    if (!(error instanceof EdgeCallError)) throw error;
    count(rule, flow, error.message);
    return refuse(codeStatus[error.code], error.message);
  }
}

function publication({ node, resource, session }: Call, body: Buffer, timestampMs: number): Envelope {
  const envelope = newEnvelope(
    {
      source: source.routerEventBus,
      group: group.user,
      operation: operation.publish,
      resource: `node/${node}/${resource}`,
    },
    body.toString('utf8'),
    { timestampMs },
  );
  if (session === 'hawser') envelope.header[ackHeader] = true;
  return envelope;
}

function httpCall(
  { node, resource }: Call,
  request: IncomingMessage,
  body: Buffer,
  { nowMs: timestampMs, withoutToken }: { readonly nowMs: number; readonly withoutToken: boolean },
): Envelope {
  const method = request.method ?? '';
  const headers = endToEnd(pairs(request.rawHeaders)).filter(
    ([name]) => !(withoutToken && name.toLowerCase() === 'authorization'),
  );
  const route = {
    source: source.routerServiceBus,
    group: group.user,
    operation: method,
    resource: `node/${node}/${resource}`,
  };
  const content = { header: headerRecord(headers), body: body.toString('base64'), method, url: '' };
  return newEnvelope(route, content, { timestampMs });
}

interface Read {
  readonly answer: Answer;
  /** For the rule's counters: an app that refuses has been reached. */
  readonly failure?: string | undefined;
}

function publishedAnswer(answer: Envelope | undefined): Read {
  if (answer?.route.operation === operation.error) {
    const failure = `not published: ${String(answer.content)}`;
    return { answer: refuse(502, failure), failure };
  }
  return { answer: { status: 200, headers: textHeaders, body: Buffer.from('message delivered') } };
}

function appAnswer(envelope: Envelope | undefined): Read {
  try {
    const message = envelope === undefined ? undefined : open(envelope);
    if (message?.kind !== 'servicebus/answer') throw new ProtocolError('no answer', malformed);
    const { header, status_code: status, body } = message.content;
    if (status < 200) throw new ProtocolError(`status ${status} ends no request`, malformed);
    const headers = endToEnd(headerList(header));
    const answer = { status, headers, body: Buffer.from(body, 'base64') };
    const isOfEdge = headers.some(
      ([name, value]) => name.toLowerCase() === 'server' && /^(hawser|kubeedge)-edgecore$/.test(value),
    );
    return { answer, failure: isOfEdge ? answer.body.toString('utf8').trim().slice(0, 500) : undefined };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const failure = `the edge answered in another form than it should: ${describeError(error)}`;
    return { answer: refuse(502, failure), failure };
  }
}

const malformed = { code: 'malformed-content', kind: 'servicebus/answer', issues: [] } as const;
const textHeaders: HeaderList = [['Content-Type', 'text/plain; charset=utf-8']];

function refuse(status: number, reason: string): Answer {
  return {
    status,
    headers: [
      ...textHeaders,
      ...(status >= 500 ? ([['Hawser-Error', 'true']] as const) : []),
      ...(status === 401 ? ([['WWW-Authenticate', 'Bearer']] as const) : []),
      ...(status === 503 ? ([['Retry-After', '5']] as const) : []),
    ],
    body: Buffer.from(`${reason}\n`),
  };
}

function write(response: ServerResponse, { status, headers, body }: Answer): void {
  if (response.destroyed) return;
  const isBodiless = status === 204 || status === 304;
  const own = isBodiless ? [] : ['Content-Length', String(body.length)];
  // Whatever body still comes is not read to its end.
  response.writeHead(status, [...headers.flat(), ...own, 'Connection', 'close']);
  response.end(isBodiless ? undefined : body);
}

/** An edge of ours takes from rules what it takes from MQTT clients, too. */
function bodyBytesMax({ kind }: EdgeTarget, session: SessionKind): number {
  if (kind === 'servicebus') return ruleLimits.serviceBusBodyBytesMax;
  return session === 'hawser' ? mqttLimits.payloadBytesMax : ruleLimits.bodyBytesMax;
}

function flowOf({ kind }: EdgeTarget): RestFlow {
  return `rest-${kind}`;
}

function isToken(header: string | undefined, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(header ?? ''), digest(`Bearer ${token}`));
}
