/** What apps at an edge ask of REST targets in the cloud, through ServiceBus: one call, one answer, nothing repeated. */

import { z } from 'zod';
import type { Log } from '#beehive/log.ts';
import { ProtocolError } from '#protocol/errors.ts';
import { mqttLimits, ruleLimits } from '#protocol/limits.ts';
import { type Envelope, reply, replyError } from '#protocol/message.ts';
import { statusHeader } from '#protocol/session.ts';
import { parseJson } from '#protocol/wire/json.ts';
import { callTarget, type RestTargetComponents } from './rest-target.ts';
import type { AskRoute, RuleKey } from './rule-set.ts';

export interface AsksComponents extends RestTargetComponents {
  readonly log: Log;
  readonly counted: (rule: RuleKey, failure: string | undefined) => void;
}

/** Of one node, and of all. */
const openMax = { node: 64, all: 1_024 };

const askSchema = z.looseObject({
  method: z
    .string()
    .transform((text) => text.toUpperCase())
    .pipe(z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']))
    .default('POST'),
  payload: z.unknown(),
});

export class Asks {
  readonly #components: AsksComponents;
  readonly #signal: AbortSignal;
  readonly #open = new Map<string, number>();
  readonly #running = new Set<Promise<unknown>>();

  constructor(components: AsksComponents, signal: AbortSignal) {
    this.#components = components;
    this.#signal = signal;
  }

  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Always an answer: the app waits. */
  async answer(node: string, route: AskRoute | undefined, request: Envelope): Promise<Envelope> {
    if (route === undefined) return refuse(request, 404, 'no rule of this node has this URL any more');
    const asked = readAsk(request.content);
    if (asked === undefined)
      return refuse(request, 400, 'the request is not {"method","targetURL","payload"}');
    const open = this.#open.get(node) ?? 0;
    if (open >= openMax.node || this.#running.size >= openMax.all)
      return refuse(request, 503, 'too many requests are open; ask again later');
    this.#open.set(node, open + 1);
    const work = this.#call(node, route, asked, request);
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
      const left = (this.#open.get(node) ?? 1) - 1;
      if (left === 0) this.#open.delete(node);
      else this.#open.set(node, left);
    }
  }

  async #call(node: string, route: AskRoute, asked: Asked, request: Envelope): Promise<Envelope> {
    const { method, text, type } = asked;
    const isBare = method === 'GET' || method === 'HEAD';
    const headers = [
      ['NodeName', node],
      ...(isBare || type === undefined ? [] : [['Content-Type', type] as const]),
    ] as const;
    const body = isBare ? new Uint8Array() : Buffer.from(text);
    const call = { url: route.url, method, headers, body, signal: this.#signal };
    const outcome = await callTarget(call, this.#components);
    if (outcome.kind === 'failed') {
      this.#components.counted(route.rule, outcome.reason);
      return refuse(request, 502, outcome.reason);
    }
    const isFine = outcome.status < 400;
    this.#components.counted(route.rule, isFine ? undefined : `${route.url.host} answered ${outcome.status}`);
    return withStatus(reply(request, outcome.text), outcome.status);
  }
}

interface Asked {
  readonly method: string;
  readonly text: string;
  readonly type: string | undefined;
}

/** KubeEdge's edge sends it in base64 (wire 9.2), and its cloud passes it on so; here the target gets what the app said. */
export function readAsk(content: unknown): Asked | undefined {
  if (typeof content !== 'string') return undefined;
  const bytesMax = 2 * ruleLimits.serviceBusBodyBytesMax;
  if (content.length > bytesMax) return undefined;
  try {
    const text = Buffer.from(content, 'base64').toString('utf8');
    const parsed = askSchema.safeParse(parseJson(text, { bytesMax, depthMax: mqttLimits.depthMax }));
    if (!parsed.success) return undefined;
    const { method, payload } = parsed.data;
    if (payload === undefined || payload === null) return { method, text: '', type: undefined };
    if (typeof payload === 'string') return { method, text: payload, type: 'text/plain; charset=utf-8' };
    return { method, text: JSON.stringify(payload), type: 'application/json' };
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

function refuse(request: Envelope, status: number, reason: string): Envelope {
  return withStatus(replyError(request, reason), status);
}

function withStatus(answer: Envelope, status: number): Envelope {
  answer.header[statusHeader] = status;
  return answer;
}
