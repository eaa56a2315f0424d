import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { machineUse } from '#test/fixtures/machine.ts';
import { plainContainer, plainSandbox } from '#test/fixtures/runtime-configs.ts';
import { type Pod, podSchema } from '../pod/pod.ts';
import { createMemoryRuntime, type MemoryRuntime } from '../runtime/memory-runtime.ts';
import { Collector } from '../stats/collector.ts';
import { DiskUses } from './disk-use.ts';
import { podUses, storageFaults } from './pod-uses.ts';

const megabyte = 1024 ** 2;

let directory: string;
let clock: ManualClock;
let runtime: MemoryRuntime;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hawser-limits-'));
  clock = new ManualClock();
  runtime = createMemoryRuntime({ clock });
  const sandbox = await runtime.runPodSandbox(plainSandbox('u', join(directory, 'logs')));
  const id = await runtime.createContainer(sandbox, plainContainer());
  await runtime.startContainer(id);
  runtime.handle.use('main', { writableLayer: { usedBytes: 3 * megabyte, inodesUsed: 1 } });
  const volume = join(directory, 'pods/u/volumes/scratch');
  await mkdir(volume, { recursive: true });
  await writeFile(join(volume, 'file'), Buffer.alloc(2 * megabyte));
});
afterEach(() => rm(directory, { recursive: true }));

const parts = () => ({
  collector: new Collector({ runtime, machine: async () => machineUse(), clock, log: silentLog }),
  disks: new DiskUses(clock),
  rootDirectory: directory,
});
const podOf = (spec: object, limits?: object): Pod =>
  podSchema.parse({
    metadata: { name: 'p', uid: 'u' },
    spec: { containers: [{ name: 'main', resources: { limits } }], ...spec },
  });
const faultOf = async (pod: Pod) => (await storageFaults([pod], parts())).get('u');

it('leaves alone who has no limits, or keeps to them', async () => {
  expect(await faultOf(podOf({}))).toBeUndefined();
  const volumes = [{ name: 'scratch', emptyDir: { sizeLimit: '10Mi' } }];
  expect(await faultOf(podOf({ volumes }, { 'ephemeral-storage': '10Mi' }))).toBeUndefined();
});

it('finds a volume that is too large', async () => {
  const volumes = [{ name: 'scratch', emptyDir: { sizeLimit: '1Mi' } }];
  expect(await faultOf(podOf({ volumes }))).toBe(
    'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". ',
  );
});

it('counts volumes, logs and what the containers wrote against the limit of the pod', async () => {
  expect(await faultOf(podOf({}, { 'ephemeral-storage': '4Mi' }))).toBe(
    'Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ',
  );
});

it('finds a container beyond its own limit', async () => {
  const pod = podOf({
    containers: [
      { name: 'main', resources: { limits: { 'ephemeral-storage': '2Mi' } } },
      { name: 'other', resources: { limits: { 'ephemeral-storage': '100Mi' } } },
    ],
  });
  expect(await faultOf(pod)).toBe('Container main exceeded its local ephemeral storage limit "2Mi". ');
});

it('ranks for the disk by the same count', async () => {
  const imageDirectory = async () => undefined;
  const uses = await podUses('nodefs.available', [podOf({})], { ...parts(), imageDirectory });
  expect(uses.get('u')?.diskBytes).toBeGreaterThanOrEqual(5 * megabyte);
  expect(uses.get('u')?.diskBytes).toBeLessThan(6 * megabyte);
  expect(uses.get('u')?.containers).toMatchObject([{ name: 'main', diskBytes: 3 * megabyte }]);
});
