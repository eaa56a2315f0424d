/** REST targets of rules as they may be: of another authority, without end, without an answer, leading elsewhere. */

import { afterEach, expect, test } from 'vitest';
import { type Clock, ManualClock, systemClock } from '#beehive/clock.ts';
import { callHttp, HttpCallError } from '#beehive/http-call.ts';
import { createTestAuthority } from '#test/certificates.ts';
import { HttpTarget } from '#test/fixtures/http-target.ts';

let targets: HttpTarget[] = [];
afterEach(async () => {
  for (const target of targets) await target.close();
  targets = [];
});

async function open(tls?: ConstructorParameters<typeof HttpTarget>[0]): Promise<HttpTarget> {
  const target = await new HttpTarget(tls).listen();
  targets.push(target);
  return target;
}

const call = (url: string, more: object = {}, clock: Clock = systemClock) =>
  callHttp(
    {
      url: new URL(url),
      method: 'POST',
      headers: [['Authorization', 'Bearer top-secret']],
      body: Buffer.from('hello'),
      timeoutMs: 60_000,
      answerBytesMax: 1_000_000,
      ...more,
    },
    clock,
  );
const codeOf = async (calling: Promise<unknown>) => {
  const error: unknown = await calling.then(
    () => expect.fail('it was answered'),
    (failure: unknown) => failure,
  );
  return error instanceof HttpCallError ? error.code : error;
};

test('one with a certificate of its authority is called, one of another hears nothing', async () => {
  const [ours, theirs] = [await createTestAuthority(), await createTestAuthority()];
  const good = await open(await ours.issue('CN=good'));
  const bad = await open(await theirs.issue('CN=bad'));
  const { status, body } = await call(`https://127.0.0.1:${good.port}/in`, { ca: ours.ca });
  expect([status, body.toString(), good.bodies()]).toEqual([200, 'done', ['hello']]);
  expect(await codeOf(call(`https://127.0.0.1:${bad.port}/in`, { ca: ours.ca }))).toBe('unreachable');
  // Without a file the system's authorities count, and a name that the certificate has not is none.
  expect(await codeOf(call(`https://127.0.0.1:${good.port}/in`))).toBe('unreachable');
  expect(await codeOf(call(`https://localhost:${good.port}/in`, { ca: ours.ca }))).toBe('unreachable');
  expect(bad.heard).toEqual([]);
  expect(good.heard).toHaveLength(1);
});

test('one that is not there was not reached; one that says nothing, or too much, may have acted', async () => {
  const target = await open();
  const url = `http://127.0.0.1:${target.port}/`;
  target.answer = () => 'never';
  const clock = new ManualClock();
  const late = codeOf(call(url, {}, clock));
  await target.until(() => target.heard.length === 1);
  await clock.advance(60_000);
  expect(await late).toBe('timeout');
  target.answer = () => ({ status: 200, body: 'x'.repeat(1_000_001) });
  expect(await codeOf(call(url))).toBe('answer-too-large');
  target.answer = () => 'never';
  const heardBefore = target.heard.length;
  const broken = codeOf(call(url));
  await target.until(() => target.heard.length > heardBefore);
  await target.close();
  targets = [];
  expect(await broken).toBe('broken');
  expect(await codeOf(call(url))).toBe('unreachable');
});

test('one that leads elsewhere is not followed, and headers of one hop stay on it', async () => {
  const target = await open();
  target.answer = () => ({
    status: 307,
    headers: { Location: 'http://127.0.0.1:1/', 'Keep-Alive': 'timeout=9' },
  });
  const headers = [
    ['Upgrade', 'x'],
    ['Connection', 'X-Hop'],
    ['X-Hop', '1'],
    ['X-Bad', 'a\r\nX-Injected: 1'],
    ['X-Good', '1'],
  ];
  const answer = await call(`http://127.0.0.1:${target.port}/`, { headers });
  expect(answer.status).toBe(307);
  expect(answer.headers.map(([name]) => name.toLowerCase())).not.toContain('keep-alive');
  const heard = target.heard[0]?.headers ?? {};
  expect(heard).toMatchObject({ 'x-good': '1', 'content-length': '5', connection: 'close' });
  for (const name of ['upgrade', 'x-hop', 'x-bad', 'x-injected']) expect(heard[name]).toBeUndefined();
});
