/**
 * Questions to the cloud, through EdgeHub: each gets an id of its own, and every way to get no answer becomes a
 * sentence for who asked.
 */

import type { Bus } from '#beehive/bus.ts';
import { BusError } from '#beehive/errors.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { operation, source } from '#protocol/names.ts';

export type CloudAnswer = { readonly answer: Envelope } | { readonly failure: string };

export interface CloudCalls {
  /** @throws CancelledError when the module stops. */
  ask(request: Envelope): Promise<CloudAnswer>;
}

export function createCloudCalls(bus: Bus, timeoutMs: number, signal: AbortSignal): CloudCalls {
  return {
    async ask(request) {
      // An id of its own, because the asker waits on the request's.
      const { source: from, group, operation: verb, resource } = request.route;
      const own = newEnvelope({ source: from, group, operation: verb, resource }, request.content);
      try {
        const answer = await bus.request(source.edgeHub, own, { timeoutMs, signal });
        return answer.route.operation === operation.error
          ? { failure: typeof answer.content === 'string' ? answer.content : 'the cloud refused' }
          : { answer };
      } catch (error) {
        if (!(error instanceof BusError)) throw error;
        return {
          failure:
            error.code === 'timeout' ? `the cloud did not answer within ${timeoutMs} ms` : error.message,
        };
      }
    },
  };
}
