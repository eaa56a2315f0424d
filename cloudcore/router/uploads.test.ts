import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { newEnvelope } from '#protocol/message.ts';
import { HttpTarget } from '#test/fixtures/http-target.ts';
import { Watch } from '#test/fixtures/watch.ts';
import type { UploadRoute } from './rule-set.ts';
import { Uploads, uploadLimits } from './uploads.ts';

let clock: ManualClock;
let target: HttpTarget;
let stop: AbortController;
let uploads: Uploads;
let counts: string[];
let repeated: number;
let said: string[];
const watch = new Watch();

beforeEach(async () => {
  clock = new ManualClock();
  target = await new HttpTarget().listen();
  stop = new AbortController();
  [counts, said, repeated] = [[], [], 0];
  uploads = new Uploads(
    {
      clock,
      ca: undefined,
      timeoutMs: 5_000,
      count: (rule, end) => counts.push(`${rule} ${end}`),
      repeated: () => {
        repeated += 1;
      },
    },
    stop.signal,
  );
});
afterEach(async () => {
  stop.abort();
  await uploads.ended();
  await target.close();
});

const until = (isSo: () => boolean) => watch.until(isSo);
const routeTo = (rule: string, path = '/'): UploadRoute => ({
  rule,
  node: 'edge-1',
  filter: '#',
  url: new URL(`http://127.0.0.1:${target.port}${path}`),
});
/** As an edge of ours says it, again and again under one number. */
function say(id: string, routes = [routeTo('r')]): void {
  const route = { source: 'bus', group: 'user', operation: 'upload', resource: 'default/t' };
  const envelope = newEnvelope(route, id);
  envelope.header.msg_id = id;
  const acknowledge = (outcome: string) => {
    said.push(`${id} ${outcome}`);
    watch.look();
  };
  uploads.add({ node: 'edge-1', topic: 'default/t', text: id, envelope, acknowledge }, routes);
}

describe('uploads of an edge that keeps them', () => {
  it('reach the target once, however often they come, and whatever the moment', async () => {
    say('a');
    say('a');
    await until(() => said.length === 1);
    say('a');
    expect(said).toEqual(['a done', 'a done']);
    expect([target.bodies(), repeated, counts]).toEqual([['a'], 2, ['r taken']]);
  });

  it('reach each rule once, when one of two targets is away', async () => {
    target.answer = ({ url }) => ({ status: url === '/bad' ? 503 : 200 });
    const both = [routeTo('good', '/good'), routeTo('bad', '/bad')];
    say('a', both);
    await until(() => said.length === 1);
    target.answer = () => ({ status: 200 });
    say('a', both);
    await until(() => said.length === 2);
    expect(said).toEqual(['a later', 'a done']);
    expect(target.heard.map(({ url }) => url).sort()).toEqual(['/bad', '/bad', '/good']);
  });

  it('wait behind one that must come again, until it has come or is lost', async () => {
    target.answer = () => ({ status: 500 });
    for (const id of ['a', 'b', 'c']) say(id);
    await until(() => said.length === 3);
    expect([said, target.bodies()]).toEqual([['a later', 'b later', 'c later'], ['a']]);
    target.answer = () => ({ status: 200 });
    say('b');
    await until(() => said.length === 4);
    for (const id of ['a', 'b', 'c']) say(id);
    await until(() => said.length === 7);
    expect(said.slice(3)).toEqual(['b later', 'a done', 'b done', 'c done']);
    expect(target.bodies()).toEqual(['a', 'a', 'b', 'c']);

    target.answer = () => ({ status: 500 });
    say('d');
    await until(() => said.length === 8);
    target.answer = () => ({ status: 200 });
    // The edge has lost its store, and d with it.
    await clock.advance(uploadLimits.blockedMs);
    say('e');
    await until(() => said.length === 9);
    expect(said.slice(7)).toEqual(['d later', 'e done']);
  });

  it('are given up after an hour of refusals, and at once when the target never will take them', async () => {
    target.answer = ({ body }) => ({ status: body === 'bad' ? 400 : 503 });
    say('bad');
    await until(() => said.length === 1);
    for (let minutes = 0; minutes <= 60; minutes += 1) {
      say('a');
      await until(() => said.length === minutes + 2);
      await clock.advance(60_000);
    }
    expect(said.slice(0, 3)).toEqual(['bad done', 'a later', 'a later']);
    expect(said.at(-1)).toBe('a done');
    expect(counts.filter((one) => one === 'r given-up')).toHaveLength(2);
  });

  it('that no rule wants are done with', () => {
    say('a', []);
    expect(said).toEqual(['a done']);
  });
});
