import { generateKeyPairSync } from 'node:crypto';
import { base64url, SignJWT } from 'jose';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { MemoryKubeApi } from '../kube/memory-kube-api.ts';
import { RollingToken } from './rolling-token.ts';
import { SystemSecrets } from './system-secrets.ts';
import { openTokenIssuer, TokenIssuer } from './token.ts';

const caHash = 'ab'.repeat(32);
const hourMs = 3_600_000;
let clock: ManualClock;
let api: MemoryKubeApi;

beforeEach(() => {
  clock = new ManualClock();
  api = new MemoryKubeApi({ clock });
});

async function published(): Promise<string> {
  const data = await new SystemSecrets(api).read('tokensecret');
  return Buffer.from(data?.tokendata ?? '').toString();
}

function bearerOf(token: string): string {
  return token.slice(token.indexOf('.') + 1);
}

function encode(value: object): string {
  return base64url.encode(JSON.stringify(value));
}

describe('join token', () => {
  it('has four parts, lives two refreshes, and is verified by every cloudcore of the cluster', async () => {
    const issuer = await openTokenIssuer({ api, clock });
    await new RollingToken({ issuer, api, clock }).publish(caHash, 24 * hourMs);
    const token = await published();
    expect(token.split('.')).toHaveLength(4);
    expect(token.startsWith(`${caHash}.`)).toBe(true);
    const other = await openTokenIssuer({ api, clock });
    await clock.advance(24 * hourMs - 2_000);
    expect(await other.verify(bearerOf(token))).toEqual({ kind: 'rolling', generation: '' });
  });

  it('says how long ago a token expired and what to do', async () => {
    const issuer = await openTokenIssuer({ api, clock });
    const token = bearerOf(await issuer.issue(caHash, 24 * hourMs));
    await clock.advance(26 * hourMs);
    await expect(issuer.verify(token)).rejects.toMatchObject({
      code: 'token-expired',
      detail: { expiredAgoMs: 2 * hourMs },
      message: 'token expired 2 h ago; make a new one on the cloud with `keadm gettoken`',
    });
  });

  it('refuses the token of another cloud', async () => {
    const issuer = await openTokenIssuer({ api, clock });
    const stranger = new TokenIssuer(Buffer.alloc(32, 7), clock);
    const token = bearerOf(await stranger.issue(caHash, hourMs));
    await expect(issuer.verify(token)).rejects.toMatchObject({ code: 'token-signature' });
  });

  it('refuses what is no token, however it is dressed', async () => {
    const key = Buffer.alloc(32, 1);
    const issuer = new TokenIssuer(key, clock);
    const exp = Math.floor(clock.now() / 1000) + 3600;
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const whole = await issuer.issue(caHash, hourMs);
    const bad = [
      '',
      'null',
      '.'.repeat(1_000_000),
      '..',
      'a.b.c',
      whole,
      `${encode({ alg: 'none' })}.${encode({ exp })}.`,
      `${encode({ alg: 'none' })}.${encode({ exp })}.e30`,
      `${encode({ alg: 'HS256', __proto__: null, crit: ['x'] })}.${encode({ exp })}.e30`,
      await new SignJWT({ exp }).setProtectedHeader({ alg: 'RS256' }).sign(privateKey),
      await new SignJWT({ exp }).setProtectedHeader({ alg: 'HS512' }).sign(Buffer.alloc(64, 1)),
      await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).sign(key),
    ];
    for (const token of bad)
      await expect(issuer.verify(token), token.slice(0, 60)).rejects.toMatchObject({
        code: 'token-malformed',
      });
  });

  it('asks for help when the key in the secret is damaged', async () => {
    await new SystemSecrets(api).put('hawser-token-key', { key: Buffer.from('short') });
    await expect(openTokenIssuer({ api, clock })).rejects.toThrow(/hawser-token-key/);
  });
});
