/**
 * A store that is damaged while pods run: the edge goes on, keeps every process, is filled again by the cloud at the
 * next connect, adopts what runs, and only then removes what the cloud no longer wants. Real SQLite, real processes.
 */

import { closeSync, existsSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { bundleLogWriter } from '#edgecore/edged/runtime/bundled-log-writer.ts';
import { removeProcessRuntime } from '#edgecore/edged/runtime/process-removal.ts';
import { createProcessRuntime } from '#edgecore/edged/runtime/process-runtime.ts';
import { openDatabase } from '#edgecore/store/database.ts';
import { SessionStore } from '#edgecore/store/session-store.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { type Edge, givenCertificates, startEdge } from '#test/fixtures/edge.ts';

const pods = { apiVersion: 'v1', plural: 'pods', namespace: 'default' };
const network = new MemoryNetwork({ clock: systemClock, random: seededRandom(4) });

let dir: string;
let cloud: Cloud;
let edge: Edge | undefined;
let logWriterFile: string;
const root = () => join(dir, 'processes');
const openRuntime = () =>
  createProcessRuntime(
    { root: root(), instance: 'edge-1', logWriterFile },
    { clock: systemClock, log: silentLog },
  );

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hawser-lost-'));
  logWriterFile = await bundleLogWriter(join(dir, 'process-logs.mjs'));
  cloud = await startCloud({ transport: network });
});
afterEach(async () => {
  await edge?.stop();
  edge = undefined;
  await cloud.close();
  await removeProcessRuntime(root(), systemClock);
  await rm(dir, { recursive: true, force: true });
});

async function start(): Promise<Edge> {
  edge = await startEdge({
    nodeName: 'edge-1',
    transport: network,
    server: `127.0.0.1:${cloud.port}`,
    certificates: givenCertificates(await cloud.identity('edge-1')),
    runtime: openRuntime(),
    dir,
  });
  return edge;
}

async function stop(): Promise<void> {
  await edge?.stop();
  await edge?.runtime.close();
  edge = undefined;
}

/** `name#pid`, as the pods' processes say it themselves. */
async function running({ runtime }: Edge): Promise<string[]> {
  const containers = await runtime.listContainers();
  const alive = containers.filter(({ state }) => state === 'running');
  return alive.map(({ id, podUid }) => `${podUid} ${id}`).sort();
}

async function addPod(name: string): Promise<string> {
  const containers = [{ name: 'main', image: '', command: ['sleep', '600'] }];
  await cloud.addPod('edge-1', name, { containers, terminationGracePeriodSeconds: 1 });
  return (await cloud.api.get({ ...pods, name })).metadata.uid ?? '';
}

function damage(file: string): void {
  const handle = openSync(file, 'r+');
  const { size } = statSync(file);
  for (let at = 0; at < size; at += 4096) writeSync(handle, Buffer.alloc(2048, 0x5a), 0, 2048, at);
  closeSync(handle);
}

test('a damaged store: pods run on, are adopted once the cloud has told, and only then is anything removed', async () => {
  await cloud.addNode('edge-1');
  const uids = [await addPod('one'), await addPod('two'), await addPod('three')];
  let current = await start();
  await expect.poll(async () => (await running(current)).length).toBe(3);
  const before = await running(current);
  await stop();

  const store = join(dir, 'edgecore.db');
  damage(store);
  for (const more of ['-wal', '-shm', '.last-good']) rmSync(`${store}${more}`, { force: true });
  // While the edge was away one pod was taken from it.
  await cloud.api.delete({ ...pods, name: 'three' }, { gracePeriodSeconds: 0 });

  network.cut();
  current = await start();
  await systemClock.sleep(1_000);
  expect(existsSync(`${store}.damaged`)).toBe(true);
  expect(new SessionStore(current.store).isWhole()).toBe(false);
  expect(await running(current)).toEqual(before);
  // A restart does not forget that something was lost: the file itself is sound by now.
  await stop();
  current = await start();
  expect(current.store.completeness).toBe('whole');
  expect(new SessionStore(current.store).isWhole()).toBe(false);
  expect(await running(current)).toEqual(before);

  network.heal();
  await current.connected();
  const wanted = before.filter((one) => !one.startsWith(`${uids[2]} `));
  await expect.poll(() => new SessionStore(current.store).isWhole()).toBe(true);
  expect(await running(current)).toEqual(expect.arrayContaining(wanted));
  await stop();
  current = await start();
  await expect.poll(() => running(current)).toEqual(wanted);
});

test('a copy of the store is no proof of what it lacks', async () => {
  const store = join(dir, 'copied.db');
  const first = openDatabase(store, { log: silentLog });
  await first.copied;
  await new SessionStore(first).becameWhole();
  await first.close();
  const second = openDatabase(store, { log: silentLog });
  expect(new SessionStore(second).isWhole()).toBe(true);
  await second.copied;
  await second.close();
  damage(store);
  const third = openDatabase(store, { log: silentLog });
  expect(third.completeness).toBe('copy');
  expect(new SessionStore(third).isWhole()).toBe(false);
  await third.close();
});
