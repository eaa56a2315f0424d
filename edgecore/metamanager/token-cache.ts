/**
 * Service account tokens, kept by everything that makes two of them differ: account, audiences, life time and
 * the pod they are bound to. A token is used until four fifths of its life are over, then a new one is asked
 * for; when the cloud cannot be reached the old one is given on, since a pod that starts with a stale token is
 * worth more than one that does not start.
 */

import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import type { Envelope } from '#protocol/message.ts';
import type { ObjectPath } from '#protocol/resource-path.ts';
import { formatObjectPath } from '#protocol/resource-path.ts';
import { type TokenRequest, tokenRequestSchema } from '#protocol/resources/token-request.ts';
import type { MetaRow, MetaStore } from '../store/meta-store.ts';
import type { CloudCalls } from './cloud-calls.ts';

export type TokenFound = { readonly token: TokenRequest } | { readonly failure: string };

export const tokenType = 'serviceaccounttoken';

const keptSchema = z.strictObject({ receivedMs: z.number(), answer: tokenRequestSchema });
const usableLife = 0.8;

export class TokenCache {
  readonly #components: { meta: MetaStore; cloud: CloudCalls; clock: Clock };
  readonly #open = new Map<string, Promise<TokenFound>>();

  constructor(components: { meta: MetaStore; cloud: CloudCalls; clock: Clock }) {
    this.#components = components;
  }

  async find(path: ObjectPath, request: Envelope): Promise<TokenFound> {
    const asked = tokenRequestSchema.safeParse(request.content);
    if (!asked.success) return { failure: `the request for ${formatObjectPath(path)} is not a TokenRequest` };
    const key = keyOf(path, asked.data);
    const kept = this.#kept(key);
    if (kept !== undefined && this.#isFresh(kept)) return { token: kept.answer };
    const open = this.#open.get(key);
    if (open !== undefined) return open;
    const found = this.#fetch(key, path, asked.data, request).finally(() => this.#open.delete(key));
    this.#open.set(key, found);
    return found;
  }

  async #fetch(key: string, path: ObjectPath, asked: TokenRequest, request: Envelope): Promise<TokenFound> {
    const { meta, cloud, clock } = this.#components;
    const said = await cloud.ask(request);
    const answer = 'answer' in said ? tokenRequestSchema.safeParse(said.answer.content) : undefined;
    if (answer?.success !== true || !answer.data.status?.token) {
      const kept = this.#kept(key);
      if (kept !== undefined) return { token: kept.answer };
      const reason = 'failure' in said ? said.failure : 'its answer held no token';
      return {
        failure: `no token of ${formatObjectPath(path)} is stored at this edge and the cloud did not give one: ${reason}`,
      };
    }
    const row: MetaRow = {
      key,
      type: tokenType,
      value: { receivedMs: clock.now(), answer: answer.data },
      uid: asked.spec.boundObjectRef?.uid,
      resourceVersion: undefined,
    };
    await meta.write((rows) => rows.put(row));
    return { token: answer.data };
  }

  #kept(key: string): z.infer<typeof keptSchema> | undefined {
    return keptSchema.safeParse(this.#components.meta.read((rows) => rows.get(key))?.value).data;
  }

  #isFresh({ receivedMs, answer }: z.infer<typeof keptSchema>): boolean {
    const endMs = Date.parse(answer.status?.expirationTimestamp ?? '');
    return this.#components.clock.now() < receivedMs + (endMs - receivedMs) * usableLife;
  }
}

function keyOf(path: ObjectPath, { spec }: TokenRequest): string {
  const bound = spec.boundObjectRef;
  const parts = [spec.audiences ?? [], spec.expirationSeconds ?? null, bound?.kind, bound?.name, bound?.uid];
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
  return `${formatObjectPath(path)}/${digest}`;
}
