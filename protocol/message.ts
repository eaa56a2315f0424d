/**
 * The envelope: what stands in one frame, and how replies are built from requests.
 * Content is not looked at here; a module opens it at its door (open.ts).
 */

import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { ok, operation } from './names.ts';

/** Shape of `header`, `route` and `content`; keys we do not know are kept, so that a frame survives a relay. */
export const envelopeSchema = z.looseObject({
  header: z.looseObject({
    msg_id: z.string(),
    parent_msg_id: z.string().optional(),
    /** Go leaves a zero out. */
    timestamp: z.number().default(0),
    resourceversion: z.string().optional(),
  }),
  route: z.looseObject({
    source: z.string(),
    group: z.string(),
    /** Go leaves empty texts out: an answer of a KubeEdge edge's ServiceBus names no resource, and may name no operation. */
    operation: z.string().default(''),
    resource: z.string().default(''),
  }),
  content: z.unknown(),
});

export type Envelope = z.infer<typeof envelopeSchema>;
export type Route = Pick<Envelope['route'], 'source' | 'group' | 'operation' | 'resource'>;

export function newEnvelope(
  route: Route,
  content: unknown,
  header: { parentId?: string; resourceVersion?: string; timestampMs?: number } = {},
): Envelope {
  return {
    header: {
      msg_id: randomUUID(),
      ...(header.parentId === undefined ? {} : { parent_msg_id: header.parentId }),
      timestamp: header.timestampMs ?? Date.now(),
      ...(header.resourceVersion === undefined ? {} : { resourceversion: header.resourceVersion }),
    },
    route: { ...route },
    content,
  };
}

/** An answer: new id, parent = the request, source, group and resource copied unless told otherwise. */
export function reply(request: Envelope, content: unknown, route: Partial<Route> = {}): Envelope {
  const { source, group, resource } = request.route;
  return newEnvelope({ source, group, resource, operation: operation.response, ...route }, content, {
    parentId: request.header.msg_id,
  });
}

/** The positive acknowledgement of a downstream object. */
export function acknowledge(request: Envelope, route: Partial<Route> = {}): Envelope {
  return reply(request, ok, route);
}

/** An answer that says the request failed; content is text (wire 4.1). */
export function replyError(request: Envelope, text: string, route: Partial<Route> = {}): Envelope {
  return reply(request, text, { operation: operation.error, ...route });
}
