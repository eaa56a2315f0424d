import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { MemoryKubeApi } from '../kube/memory-kube-api.ts';
import { NamedTokens } from './named-tokens.ts';
import { openTokenIssuer } from './token.ts';

const terms = { expiresMs: undefined, usesMax: undefined, node: undefined };
const secrets = { apiVersion: 'v1', plural: 'secrets', namespace: 'kubeedge' };
let clock: ManualClock;
let api: MemoryKubeApi;
let tokens: NamedTokens;

beforeEach(() => {
  clock = new ManualClock();
  api = new MemoryKubeApi({ clock });
  tokens = new NamedTokens({ api, clock });
});

describe('named tokens', () => {
  it('are kept with their terms, and without their text', async () => {
    const token = await tokens.create({ expiresMs: clock.now() + 1000, usesMax: 2, node: 'edge-1' });
    await clock.advance(1);
    const second = await tokens.create(terms);
    expect(await tokens.list()).toEqual([token, second]);
    const text = await (await openTokenIssuer({ api, clock })).issueNamed('ab'.repeat(32), token);
    const [, ...parts] = text.split('.');
    const stored = JSON.stringify(await api.get({ ...secrets, name: `hawser-token-${token.id}` }));
    for (const part of parts) {
      expect(stored).not.toContain(part);
      expect(stored).not.toContain(Buffer.from(part).toString('base64'));
    }
  });

  it('two cloudcores do not both spend the last use', async () => {
    const { id } = await tokens.create({ ...terms, usesMax: 5 });
    const clouds = [tokens, new NamedTokens({ api, clock }), new NamedTokens({ api, clock })];
    const uses = await Promise.allSettled(
      Array.from({ length: 12 }, (_, at) => clouds[at % 3]?.use(id, 'edge-1')),
    );
    expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
    for (const use of uses)
      if (use.status === 'rejected') expect(use.reason).toMatchObject({ code: 'token-used-up' });
  });

  it('that were deleted between the check and the use are revoked', async () => {
    const { id } = await tokens.create(terms);
    await tokens.check(id, 'edge-1');
    expect(await tokens.delete(id)).toBe(true);
    expect(await tokens.delete(id)).toBe(false);
    await expect(tokens.use(id, 'edge-1')).rejects.toMatchObject({ code: 'token-revoked' });
  });

  it('are not what somebody else put there', async () => {
    const labels = { 'hawser.dev/join-token': 'x' };
    for (const [name, data] of [
      ['hawser-token-aaaaaaaaaa', undefined],
      ['hawser-token-bbbbbbbbbb', { uses: 'bm90', created: 'MQ==' }],
      ['other', { uses: 'MA==', created: 'MQ==' }],
    ] as const) {
      await api.create(secrets, { metadata: { name, labels }, data });
    }
    expect(await tokens.list()).toEqual([]);
    for (const id of ['aaaaaaaaaa', 'bbbbbbbbbb', 'key', '../x', '__proto__'])
      await expect(tokens.check(id, 'edge-1'), id).rejects.toMatchObject({ code: 'token-revoked' });
  });
});
