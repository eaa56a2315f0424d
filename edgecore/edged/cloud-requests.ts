/** Edged's questions to the cloud, through MetaManager, and the ObjectResp they are answered with (wire 4.3). */

import { z } from 'zod';
import type { Bus } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { BusError } from '#beehive/errors.ts';
import { requestLimits } from '#protocol/limits.ts';
import { newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';

/** What the cloud said; `unanswered` when there is no cloud, or it did not understand. */
export type CloudAnswer =
  | { readonly kind: 'object'; readonly object: unknown }
  | { readonly kind: 'refused'; readonly reason: string; readonly message: string }
  | { readonly kind: 'unanswered'; readonly why: string };

export interface CloudRequests {
  ask(operationName: string, resource: string, content: unknown, signal?: AbortSignal): Promise<CloudAnswer>;
}

const objectRespSchema = z.looseObject({
  Object: z.unknown(),
  Err: z
    .looseObject({
      ErrStatus: z.looseObject({
        reason: z.string().optional(),
        message: z.string().optional(),
        status: z.string().optional(),
      }),
    })
    .nullish(),
});

export function createCloudRequests(components: { bus: Bus; clock: Clock }): CloudRequests {
  const { bus, clock } = components;
  return {
    async ask(operationName, resource, content, signal) {
      const route = { source: source.edged, group: group.meta, operation: operationName, resource };
      const envelope = newEnvelope(route, content, { timestampMs: clock.now() });
      try {
        const answer = await bus.request('metamanager', envelope, {
          timeoutMs: requestLimits.timeoutMs,
          ...(signal === undefined ? {} : { signal }),
        });
        if (answer.route.operation === operation.error)
          return { kind: 'unanswered', why: String(answer.content).slice(0, 500) };
        return readAnswer(answer.content);
      } catch (error) {
        if (error instanceof BusError) return { kind: 'unanswered', why: error.message };
        throw error;
      }
    },
  };
}

export function readAnswer(content: unknown): CloudAnswer {
  const parsed = objectRespSchema.safeParse(content);
  if (!parsed.success) return { kind: 'object', object: content };
  const { Object: object, Err } = parsed.data;
  if (Err) {
    const { reason, message } = Err.ErrStatus;
    return { kind: 'refused', reason: reason ?? 'Unknown', message: message ?? 'no message' };
  }
  if (object === null || object === undefined) return { kind: 'unanswered', why: 'the answer is empty' };
  return { kind: 'object', object };
}
