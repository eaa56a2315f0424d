import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { plainContainer, plainSandbox } from '#test/fixtures/runtime-configs.ts';
import { createMemoryRuntime, type MemoryRuntime } from '../runtime/memory-runtime.ts';
import { RuntimeError } from '../runtime/runtime-service.ts';
import { LogRotation } from './log-rotation.ts';

let directory: string;
let clock: ManualClock;
let runtime: MemoryRuntime;
let rotation: LogRotation;
let rotated: number;
const counted = {
  logRotated: () => {
    rotated += 1;
  },
};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hawser-rotation-'));
  clock = new ManualClock(Date.UTC(2026, 0, 31, 12));
  runtime = createMemoryRuntime({ clock });
  rotated = 0;
  rotation = new LogRotation({ bytesMax: 100, filesMax: 4 }, { runtime, counted, clock, log: silentLog });
  const sandbox = await runtime.runPodSandbox(plainSandbox('u', directory));
  const id = await runtime.createContainer(sandbox, plainContainer({ logPath: '0.log' }));
  await runtime.startContainer(id);
});
afterEach(() => rm(directory, { recursive: true }));

const log = () => join(directory, '0.log');
const files = async () => (await readdir(directory)).sort();
const fill = (text: string) => writeFile(log(), text.repeat(100));
const reopened = () => runtime.handle.calls.filter((it) => it.startsWith('reopen')).length;

it('leaves a log alone that is within its size', async () => {
  await writeFile(log(), 'x'.repeat(99));
  await rotation.round();
  expect(await files()).toEqual(['0.log']);
  expect(reopened()).toBe(0);
});

it('renames a full log, compresses those before, and removes the oldest', async () => {
  for (const text of ['a', 'b', 'c', 'd', 'e']) {
    await fill(text);
    await rotation.round();
    await clock.advance(10_000);
  }
  expect(await files()).toEqual([
    '0.log.20260131-120020.gz',
    '0.log.20260131-120030.gz',
    '0.log.20260131-120040',
  ]);
  expect(reopened()).toBe(5);
  expect(rotated).toBe(5);
  const compressed = await readFile(join(directory, '0.log.20260131-120030.gz'));
  expect(gunzipSync(compressed).toString()).toBe('d'.repeat(100));
  expect(await readFile(join(directory, '0.log.20260131-120040'), 'utf8')).toBe('e'.repeat(100));
});

it('takes no name twice within a second', async () => {
  await fill('a');
  await rotation.round();
  await fill('b');
  await rotation.round();
  expect(await files()).toEqual(['0.log.20260131-120000.gz', '0.log.20260131-120001']);
});

it('gives the log its name back when the runtime does not go on in a new one', async () => {
  const { reopenContainerLog } = runtime;
  runtime.reopenContainerLog = async () => {
    throw new RuntimeError('no', { code: 'refused', what: 'ReopenContainerLog' });
  };
  await fill('a');
  await rotation.round();
  expect(await files()).toEqual(['0.log']);
  runtime.reopenContainerLog = reopenContainerLog;
  await rotation.round();
  expect(await files()).toEqual(['0.log.20260131-120000']);
});

it('takes up what a kill has left: half a compression, and one whose original still lies there', async () => {
  await fill('c');
  await writeFile(`${log()}.20260131-110000`, 'a');
  await writeFile(`${log()}.20260131-110000.tmp`, 'half');
  await writeFile(`${log()}.20260131-111000`, 'b');
  await writeFile(`${log()}.20260131-111000.gz`, 'whole');
  await rotation.round();
  expect(await files()).toEqual([
    '0.log.20260131-110000.gz',
    '0.log.20260131-111000.gz',
    '0.log.20260131-120000',
  ]);
  expect(await readFile(`${log()}.20260131-111000.gz`, 'utf8')).toBe('whole');
});

it('touches no log of a container that has ended', async () => {
  await fill('a');
  runtime.handle.exit('main', 0);
  await rotation.round();
  expect(await files()).toEqual(['0.log']);
});
