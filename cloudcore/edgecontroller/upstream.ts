/**
 * What edges ask of the Kubernetes API (wire 4.4): each row of the table turns one kind of message into calls and
 * one answer. Every answer says success or failure in the form that the kind wants; none is ever empty.
 */

import type { Log } from '#beehive/log.ts';
import { failureStatus, KubeError, type Status } from '#cloudcore/kube/kube-api.ts';
import { describeError, ProtocolError } from '#protocol/errors.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { group, ok, operation, source } from '#protocol/names.ts';
import { type ObjectPath, parseObjectPath, splitNode } from '#protocol/resource-path.ts';
import { failureOf, objectOf } from '#protocol/resources/object-resp.ts';
import { ackHeader, ackLater, sinceHeader } from '#protocol/session.ts';
import { authorize } from './authorize.ts';
import { type Answer, forbidden, type Request, type Row, type UpstreamComponents } from './request.ts';
import { certificateRows } from './upstream-certificates.ts';
import { eventRows } from './upstream-events.ts';
import { nodeRows } from './upstream-nodes.ts';
import { podRows } from './upstream-pods.ts';
import { queryRows } from './upstream-queries.ts';

export interface UpstreamOptions {
  /** Off only where an operator says so: then any edge may read and write for any other. */
  readonly authorize: boolean;
}

const rows: ReadonlyMap<string, Row> = new Map(
  Object.entries({ ...nodeRows, ...podRows, ...queryRows, ...certificateRows, ...eventRows }),
);

/** `k8s/ca.crt`, and old edges report the statuses of several pods under the bare type (wire 4.4). */
const nameless: ReadonlySet<string> = new Set(['podstatus', 'ca.crt']);

export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #components: UpstreamComponents;
  readonly #log: Log;

  constructor(options: UpstreamOptions, components: UpstreamComponents) {
    this.#options = options;
    this.#components = components;
    this.#log = components.log;
  }

  async handle(envelope: Envelope): Promise<void> {
    const { node, path: text } = splitNode(envelope.route.resource);
    const path = readPath(text);
    if (path === undefined) return await this.#unsupported(envelope, text.slice(0, 200));
    const kind = `${path.type}/${envelope.route.operation}`;
    const row = rows.get(kind);
    const name = path.name ?? (nameless.has(path.type) ? '' : undefined);
    if (row === undefined || name === undefined) return await this.#unsupported(envelope, kind);
    const request: Request = { node, path: { ...path, name }, content: envelope.content, envelope };
    const { object, failure } = await this.#run(kind, row, request);
    const answer = this.#answer(row, request, object, failure);
    if (answer !== undefined) await this.#components.sender.send(answer);
    row.after?.(request, this.#components, failure);
  }

  async #run(kind: string, row: Row, request: Request): Promise<{ object?: Answer; failure?: Status }> {
    try {
      if (this.#options.authorize) {
        const verdict = authorize(request.node, kind, request.path, request.content, this.#components.cache);
        if (!verdict.allowed) throw forbidden(verdict.reason);
      }
      return { object: await row.run(request, this.#components) };
    } catch (error) {
      const failure = statusOf(error);
      const { msg_id: msgId } = request.envelope.header;
      const fields = { node: request.node, kind, name: request.path.name, msgId, reason: failure.message };
      const refused = error instanceof KubeError && error.retry === 'never';
      // Neither is worth a line each: an edge may send that any number of times.
      if (refused || error instanceof ProtocolError) this.#log.debug(fields, 'refused what an edge asked');
      else this.#log.warn({ ...fields, err: error }, 'cannot do what an edge asked');
      return { failure };
    }
  }

  #answer(row: Row, request: Request, object: Answer, failure: Status | undefined): Envelope | undefined {
    const { envelope, node } = request;
    if (row.form === 'none') return answerOfLog(envelope, failure);
    const { cache, downstream } = this.#components;
    if (row.reports === undefined || typeof object !== 'object' || !downstream.isOurs(node))
      return answerOf(row, envelope, object, failure);
    const since = cache.sameSince(row.reports, object);
    if (since === undefined) return answerOf(row, envelope, object, failure);
    const { name, namespace, uid, resourceVersion } = object.metadata;
    const answer = answerOf(row, envelope, { metadata: { name, namespace, uid, resourceVersion } }, failure);
    if (answer !== undefined) answer.header[sinceHeader] = since;
    return answer;
  }

  /** An answer saves the edge a minute of waiting for one that never comes. */
  async #unsupported(envelope: Envelope, kind: string): Promise<void> {
    const { route } = envelope;
    this.#log.debug({ kind, msgId: envelope.header.msg_id }, 'an edge sent what is not handled here');
    if (route.group !== group.meta) return;
    const message = `"${kind}" is not supported by this cloud`;
    const form = route.operation === operation.query ? 'bare' : 'objectResp';
    const answer = answerOf({ form }, envelope, undefined, failureStatus(405, 'MethodNotAllowed', message));
    if (answer !== undefined) await this.#components.sender.send(answer);
  }
}

/** Undefined for what names no object. */
function readPath(text: string): ObjectPath | undefined {
  try {
    return parseObjectPath(text);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** A failure that is not the API's own becomes a Status too: an empty one would crash a KubeEdge edge (wire 4.3). */
function statusOf(error: unknown): Status {
  if (error instanceof KubeError) return error.status;
  if (error instanceof ProtocolError) return failureStatus(400, 'BadRequest', error.message);
  return failureStatus(500, 'InternalError', describeError(error));
}

/** An edge of ours keeps what it logs until it hears that it is written, or never will be, or should come again. */
function answerOfLog(request: Envelope, failure: Status | undefined): Envelope | undefined {
  if (request.header[ackHeader] !== true) return undefined;
  const answer = answerOf({ form: 'ok' }, request, undefined, failure);
  const code = failure?.code ?? 500;
  if (answer !== undefined && failure !== undefined && (code >= 500 || code === 429)) {
    answer.header[ackHeader] = ackLater;
  }
  return answer;
}

function answerOf(
  { form, source: from = source.edgeController }: Pick<Row, 'form' | 'source'>,
  request: Envelope,
  object: Answer,
  failure: Status | undefined,
): Envelope | undefined {
  if (form === 'none') return undefined;
  const route = {
    source: from,
    group: group.resource,
    operation: operation.response,
    resource: request.route.resource,
  };
  const parentId = request.header.msg_id;
  if (failure !== undefined && form !== 'objectResp') {
    const text = failure.message || failure.reason || 'the request failed';
    return newEnvelope({ ...route, operation: operation.error }, text, { parentId });
  }
  if (failure !== undefined) return newEnvelope(route, failureOf(failure), { parentId });
  if (form === 'ok' || object === undefined) return newEnvelope(route, ok, { parentId });
  if (typeof object === 'string') return newEnvelope(route, object, { parentId });
  const { resourceVersion } = object.metadata;
  const header = { parentId, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
  return newEnvelope(route, form === 'bare' ? object : objectOf(object), header);
}
