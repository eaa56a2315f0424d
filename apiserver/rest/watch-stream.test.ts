/** Watches and the log's past, over hours that take none: the server runs on a hand-turned clock. */

import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { type JsonObject, valueAt } from '../kube-object.ts';
import { limits } from '../limits.ts';
import { RunningServer } from '../testing/running-server.ts';

let clock: ManualClock;
let api: RunningServer;

beforeEach(async () => {
  // Certificates are made by this clock and checked by the real one.
  clock = new ManualClock(Date.now());
  api = await RunningServer.start(clock);
});

afterEach(async () => {
  await api.close();
});

const configMaps = '/api/v1/namespaces/default/configmaps';
const versionOf = (object: JsonObject) => String(valueAt(object, 'metadata', 'resourceVersion'));

test('an idle watch gets a bookmark as far as it has seen, and ends in its time', async () => {
  const from = versionOf((await api.get(configMaps)).body);
  const query = `watch=1&allowWatchBookmarks=true&timeoutSeconds=90&resourceVersion=${from}`;
  const watch = api.watch(`${configMaps}?${query}`);
  const first = watch.next();
  const { body } = await api.post(configMaps, { metadata: { name: 'one' } });
  expect((await first).value).toMatchObject({ type: 'ADDED' });
  await api.post('/api/v1/namespaces/default/secrets', { metadata: { name: 'other' } });
  const second = watch.next();
  await clock.advance(limits.bookmarkMs + 1);
  const bookmark = (await second).value;
  expect(bookmark).toMatchObject({ type: 'BOOKMARK', object: { kind: 'ConfigMap', apiVersion: 'v1' } });
  expect(Number(versionOf(bookmark?.object ?? {}))).toBeGreaterThan(Number(versionOf(body)));
  const end = watch.next();
  await clock.advance(40_000);
  expect((await end).done).toBe(true);
});

test('what was compacted is gone for watches, lists and pages', async () => {
  const { body } = await api.post(configMaps, { metadata: { name: 'one' } });
  const page = (await api.get(`${configMaps}?limit=1`)).body;
  for (const value of ['1', '2']) await api.patch(`${configMaps}/one`, 'merge', { data: { value } });
  const old = versionOf(body);
  expect((await api.get(`${configMaps}?resourceVersion=${old}&resourceVersionMatch=Exact`)).status).toBe(200);
  await clock.advance(limits.historyMs + 2 * limits.compactEveryMs);

  const exact = await api.get(`${configMaps}?resourceVersion=${old}&resourceVersionMatch=Exact`);
  expect(exact.body).toMatchObject({ code: 410, reason: 'Expired' });
  const token = String(valueAt(page, 'metadata', 'continue'));
  expect((await api.get(`${configMaps}?limit=1&continue=${token}`)).status).toBe(410);
  for await (const { type, object } of api.watch(`${configMaps}?watch=1&resourceVersion=${old}`)) {
    expect(type).toBe('ERROR');
    expect(object).toMatchObject({ code: 410, reason: 'Expired' });
  }
  expect(valueAt((await api.get(`${configMaps}/one`)).body, 'data', 'value')).toBe('2');
});

test('events go after an hour, renewed ones later', async () => {
  const events = '/api/v1/namespaces/default/events';
  const event = (name: string) => ({
    metadata: { name },
    involvedObject: { kind: 'Pod', name: 'p', namespace: 'default' },
  });
  await api.post(events, event('once'));
  await api.post(events, event('again'));
  await clock.advance(limits.eventMs / 2);
  await api.patch(`${events}/again`, 'merge', { lastTimestamp: new Date(clock.now()).toISOString() });
  await clock.advance(limits.eventMs / 2 + 2 * limits.compactEveryMs);
  expect((await api.get(`${events}/once`)).status).toBe(404);
  expect((await api.get(`${events}/again`)).status).toBe(200);
});

test('a watch that is not read does not hold the others up', async () => {
  const slow = api.watch(`${configMaps}?watch=1`);
  await slow.next();
  const quick = api.watch(
    `${configMaps}?watch=1&resourceVersion=${versionOf((await api.get(configMaps)).body)}`,
  );
  const next = quick.next();
  const text = 'x'.repeat(500_000);
  for (let i = 0; i < 8; i += 1)
    await api.post(configMaps, { metadata: { name: `big-${i}` }, data: { text } });
  expect((await next).value).toMatchObject({ type: 'ADDED' });
  const names: unknown[] = [];
  for await (const { object } of slow) {
    names.push(valueAt(object, 'metadata', 'name'));
    if (names.length === 8) break;
  }
  expect(names).toEqual(Array.from({ length: 8 }, (_, i) => `big-${i}`));
  await quick.return(undefined);
});
