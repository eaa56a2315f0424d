import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { plainContainer, plainSandbox } from '#test/fixtures/runtime-configs.ts';
import { createMemoryRuntime, type MemoryRuntime } from '../runtime/memory-runtime.ts';
import { ContainerGc } from './container-gc.ts';

describe('ended containers', () => {
  let directory: string;
  let clock: ManualClock;
  let runtime: MemoryRuntime;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hawser-gc-'));
    clock = new ManualClock();
    runtime = createMemoryRuntime({ clock });
  });
  afterEach(() => rm(directory, { recursive: true }));

  /** Ends as often as said; each time a second later than the one before. */
  async function crash(podUid: string, times: number): Promise<void> {
    const sandbox = await runtime.runPodSandbox(plainSandbox(podUid, join(directory, podUid)));
    await mkdir(join(directory, podUid, 'main'), { recursive: true });
    for (let attempt = 0; attempt < times; attempt += 1) {
      const id = await runtime.createContainer(sandbox, plainContainer({ attempt }));
      for (const ending of ['', '.20260101-000000', '.20260101-000000.gz'])
        await writeFile(join(directory, podUid, 'main', `${attempt}.log${ending}`), '');
      await runtime.startContainer(id);
      runtime.handle.exit('main', 1);
      await clock.advance(1000);
    }
  }
  const left = async () =>
    (await runtime.listContainers()).map(({ podUid, attempt }) => `${podUid}#${attempt}`).sort();
  const gc = (max = -1, ageMinMs = 0) =>
    new ContainerGc({ max, ageMinMs }, { runtime, clock, log: silentLog });

  it('go with all of their logs, the oldest first, as many as are too many', async () => {
    await crash('a', 3);
    await crash('b', 2);
    await gc().collect(3, 0);
    expect(await left()).toEqual(['a#2', 'b#0', 'b#1']);
    expect((await readdir(join(directory, 'a/main'))).sort()).toEqual([
      '2.log',
      '2.log.20260101-000000',
      '2.log.20260101-000000.gz',
    ]);
  });

  it('stay while they are young, and the last of each name for ever', async () => {
    await crash('a', 3);
    await gc().collect(0, 2500);
    expect(await left()).toEqual(['a#1', 'a#2']);
    await gc().freeAll();
    expect(await left()).toEqual(['a#2']);
  });

  it('are looked at each minute where there is a most', async () => {
    await crash('a', 2);
    const stop = new AbortController();
    const done = [gc(1), gc(-1)].map((it) => it.run(stop.signal));
    await clock.advance(0);
    expect(await left()).toEqual(['a#1']);
    await crash('b', 2);
    expect(await left()).toEqual(['a#1', 'b#0', 'b#1']);
    await clock.advance(60_000);
    await expect.poll(left).toEqual(['a#1', 'b#1']);
    stop.abort();
    await Promise.all(done);
  });
});
