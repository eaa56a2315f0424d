/**
 * Join tokens that have a name: one Secret each, which says how long, how often and for which node the token may
 * be used, and never what its text is. The Secret is the token's right to exist: without it the token is revoked.
 * Uses are counted by replacing the very version that was read, so that several cloudcores share the last one
 * fairly.
 */

import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import { systemNamespace } from '#protocol/names.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { isConflict, isNotFound, type KubeApi, type ObjectRef } from '../kube/kube-api.ts';
import { TokenError } from './token-error.ts';

export interface TokenTerms {
  /** Undefined: for ever. */
  readonly expiresMs: number | undefined;
  /** Undefined: any number of times. */
  readonly usesMax: number | undefined;
  /** Undefined: for any node. */
  readonly node: string | undefined;
}

export interface NamedToken extends TokenTerms {
  readonly id: string;
  readonly createdMs: number;
  readonly uses: number;
}

export const tokenIdPattern = /^[a-z0-9]{10}$/;

const prefix = 'hawser-token-';
const label = 'hawser.dev/join-token';
/** So many cloudcores and joining edges may count at the same moment; each try loses to one that succeeded. */
const countTriesMax = 50;
const collection = { apiVersion: 'v1', plural: 'secrets', namespace: systemNamespace };
const count = z.coerce.number().int().nonnegative();
const dataSchema = z.record(z.string(), z.string());
const recordSchema = z.object({
  created: z.coerce.number(),
  expires: z.coerce.number().optional(),
  uses: count,
  usesMax: count.optional(),
  node: z.string().optional(),
});

export class NamedTokens {
  readonly #api: KubeApi;
  readonly #clock: Clock;
  /** One count at a time for each token, so that edges that join at once here do not race with one another. */
  readonly #counting = new Map<string, Promise<void>>();

  constructor({ api, clock }: { api: KubeApi; clock: Clock }) {
    this.#api = api;
    this.#clock = clock;
  }

  /** @throws KubeError */
  async create(terms: TokenTerms): Promise<NamedToken> {
    const token = { ...terms, id: randomBytes(5).toString('hex'), createdMs: this.#clock.now(), uses: 0 };
    await this.#api.create(collection, secretOf(token));
    return token;
  }

  /** The oldest first. @throws KubeError */
  async list(): Promise<NamedToken[]> {
    const { items } = await this.#api.list(collection, { labelSelector: label });
    return items.flatMap((item) => readSecret(item) ?? []).sort((a, b) => a.createdMs - b.createdMs);
  }

  /** False when there is none of that id. @throws KubeError */
  async delete(id: string): Promise<boolean> {
    try {
      await this.#api.delete(refOf(id));
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  /** Whether the token may be used for this node at all; nothing is counted. @throws TokenError, KubeError */
  async check(id: string, node: string): Promise<void> {
    requireUsable((await this.#read(id)).token, node);
  }

  /** Counts one use. @throws TokenError when there was none left, or it was revoked; KubeError */
  async use(id: string, node: string): Promise<void> {
    const before = this.#counting.get(id) ?? Promise.resolve();
    const counted = before.then(() => this.#count(id, node));
    const settled = counted.catch(() => {});
    this.#counting.set(id, settled);
    try {
      await counted;
    } finally {
      if (this.#counting.get(id) === settled) this.#counting.delete(id);
    }
  }

  async #count(id: string, node: string): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const { token, resourceVersion } = await this.#read(id);
      requireUsable(token, node);
      try {
        await this.#api.replace(refOf(id), secretOf({ ...token, uses: token.uses + 1 }, resourceVersion));
        return;
      } catch (error) {
        if (isNotFound(error)) throw revoked();
        if (!isConflict(error) || tries === countTriesMax) throw error;
      }
    }
  }

  async #read(id: string): Promise<{ token: NamedToken; resourceVersion: string | undefined }> {
    if (!tokenIdPattern.test(id)) throw revoked();
    try {
      const secret = await this.#api.get(refOf(id));
      const token = readSecret(secret);
      if (token === undefined) throw revoked();
      return { token, resourceVersion: secret.metadata.resourceVersion };
    } catch (error) {
      if (isNotFound(error)) throw revoked();
      throw error;
    }
  }
}

function requireUsable(token: NamedToken, node: string): void {
  if (token.node !== undefined && token.node !== node) {
    throw new TokenError(
      `this token is only for node ${token.node}, not for ${node}; join under that name (--edgenode-name ${token.node}), or make another on the cloud with \`keadm token create\``,
      { code: 'token-node', node: token.node },
    );
  }
  if (token.usesMax !== undefined && token.uses >= token.usesMax) {
    throw new TokenError(
      `token ${token.id} is used up (${token.uses} of ${token.usesMax}); make a new one on the cloud with \`keadm token create\``,
      { code: 'token-used-up', uses: token.uses },
    );
  }
}

function revoked(): TokenError {
  return new TokenError(
    'this token was revoked on the cloud; make a new one there with `keadm token create`',
    { code: 'token-revoked' },
  );
}

function refOf(id: string): ObjectRef {
  return { ...collection, name: `${prefix}${id}` };
}

function secretOf(token: NamedToken, resourceVersion?: string): object {
  const fields = {
    created: token.createdMs,
    expires: token.expiresMs,
    uses: token.uses,
    usesMax: token.usesMax,
    node: token.node,
  };
  const data = Object.entries(fields).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, Buffer.from(String(value)).toString('base64')]],
  );
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'Opaque',
    metadata: {
      name: `${prefix}${token.id}`,
      namespace: systemNamespace,
      labels: { [label]: token.id },
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    data: Object.fromEntries(data),
  };
}

/** Undefined: somebody wrote into it what is no token's; then it is none. */
function readSecret(secret: KubeObject): NamedToken | undefined {
  const content = dataSchema.safeParse(secret.data ?? {});
  const fields = Object.entries(content.data ?? {}).map(([name, value]) => [
    name,
    Buffer.from(value, 'base64').toString(),
  ]);
  const record = recordSchema.safeParse(Object.fromEntries(fields));
  const { name } = secret.metadata;
  if (!record.success || !name.startsWith(prefix)) return undefined;
  const { created, expires, uses, usesMax, node } = record.data;
  return { id: name.slice(prefix.length), createdMs: created, expiresMs: expires, uses, usesMax, node };
}
