import { beforeEach, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { MemoryKubeApi } from '../kube/memory-kube-api.ts';
import { RollingToken } from './rolling-token.ts';
import { openTokenIssuer, type TokenIssuer } from './token.ts';

const caHash = 'ab'.repeat(32);
const hourMs = 3_600_000;
let clock: ManualClock;
let api: MemoryKubeApi;
let issuer: TokenIssuer;
let rolling: RollingToken;

beforeEach(async () => {
  clock = new ManualClock();
  api = new MemoryKubeApi({ clock });
  issuer = await openTokenIssuer({ api, clock });
  rolling = new RollingToken({ issuer, api, clock });
});

async function check(token: string | undefined): Promise<void> {
  const verified = await issuer.verify(token?.slice(token.indexOf('.') + 1) ?? '');
  if (verified.kind !== 'rolling') throw new TypeError('not a rolling token');
  await new RollingToken({ issuer, api, clock }).check(verified.generation);
}

it('revoked: all that were given out are refused, and the new one lives as long as the last would have', async () => {
  await rolling.publish(caHash, 24 * hourMs);
  const first = await rolling.read();
  await clock.advance(12 * hourMs);
  await rolling.publish(caHash, 24 * hourMs);
  const second = await rolling.read();
  await check(first);
  await check(second);

  await clock.advance(hourMs);
  await rolling.revoke();
  for (const token of [first, second])
    await expect(check(token)).rejects.toMatchObject({
      code: 'token-revoked',
      message: expect.stringMatching(/revoked on the cloud.*keadm gettoken/),
    });
  const third = await rolling.read();
  expect(third).toMatch(new RegExp(`^${caHash}\\.`));
  await check(third);
  await clock.advance(23 * hourMs - 2_000);
  await check(third);
  await clock.advance(4_000);
  await expect(check(third)).rejects.toMatchObject({ code: 'token-expired' });
});

it('renewed just while it is revoked: what is printed afterwards is good', async () => {
  await rolling.publish(caHash, 24 * hourMs);
  const other = new RollingToken({ issuer, api, clock });
  let revoked = 0;
  const replace = api.replace.bind(api);
  // Between the look at the generation and the write of the token.
  api.replace = async (ref, object) => {
    if (ref.name === 'tokensecret' && revoked === 0) {
      revoked += 1;
      await other.revoke();
    }
    return replace(ref, object);
  };
  await rolling.publish(caHash, 24 * hourMs);
  expect(revoked).toBe(1);
  await check(await rolling.read());
});

it('without one that was printed there is none afterwards, until cloudcore renews it', async () => {
  await rolling.revoke();
  expect(await rolling.read()).toBeUndefined();
  await rolling.publish(caHash, hourMs);
  await check(await rolling.read());
});
