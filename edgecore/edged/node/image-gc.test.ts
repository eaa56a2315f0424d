import { beforeEach, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { podSchema } from '../pod/pod.ts';
import { createMemoryRuntime, type MemoryRuntime } from '../runtime/memory-runtime.ts';
import { RuntimeError } from '../runtime/runtime-service.ts';
import { ImageGc } from './image-gc.ts';
import { imageNames } from './node-care.ts';

const minute = 60_000;

let clock: ManualClock;
let runtime: MemoryRuntime;
let wanted: Set<string>;
let said: string[];
let freeBytes: number;
let removedBytes: number[];
let images: ImageGc;

beforeEach(() => {
  clock = new ManualClock();
  runtime = createMemoryRuntime({ clock });
  wanted = new Set();
  said = [];
  removedBytes = [];
  freeBytes = 100;
  images = new ImageGc(
    { highPercent: 85, lowPercent: 80, ageMinMs: 2 * minute },
    {
      runtime,
      filesystem: async () => ({
        capacityBytes: 1000,
        availableBytes: freeBytes,
        usedBytes: 1000 - freeBytes,
        inodes: 0,
        inodesFree: 0,
      }),
      wanted: () => wanted,
      events: { node: (_type, reason) => void said.push(reason) },
      counted: { imageRemoved: (bytes) => void removedBytes.push(bytes) },
      clock,
      log: silentLog,
    },
  );
});

const add = (name: string, facts: { sizeBytes?: number; pinned?: boolean; usedByOthers?: boolean } = {}) => {
  runtime.handle.images.add(name);
  runtime.handle.imageFacts.set(name, { sizeBytes: 50, ...facts });
};
const left = () => [...runtime.handle.images];

it('removes nothing below the high threshold', async () => {
  add('old');
  freeBytes = 151;
  await images.collect();
  expect(left()).toEqual(['old']);
});

it('removes the least recently used until the low threshold, and never what somebody needs', async () => {
  for (const name of ['named', 'others', 'a', 'b', 'c']) add(name);
  add('kept', { pinned: true });
  add('others', { usedByOthers: true });
  wanted.add('named').add('b').add('a');
  freeBytes = 500;
  await images.collect();
  await clock.advance(minute);
  wanted.delete('a');
  await images.collect();
  await clock.advance(5 * minute);
  wanted.delete('b');
  freeBytes = 100;
  // 100 bytes are to be freed: two images, `c` which was never used and `a` which was used before `b`.
  await images.collect();
  expect(left()).toEqual(['named', 'others', 'b', 'kept']);
  expect(removedBytes).toEqual([50, 50]);
  expect(said).toEqual([]);
});

it('spares an image that has just come', async () => {
  freeBytes = 500;
  await images.collect();
  add('new');
  freeBytes = 100;
  await images.collect();
  expect(left()).toEqual(['new']);
  await clock.advance(2 * minute);
  await images.collect();
  expect(left()).toEqual([]);
});

it('says when too little can be removed, once it stays so', async () => {
  add('small');
  await images.collect();
  expect(said).toEqual([]);
  await images.collect();
  expect(said).toEqual(['ImageGCFailed']);
});

it('goes on past an image that the runtime does not let go', async () => {
  add('stuck');
  add('other', { sizeBytes: 200 });
  const { removeImage } = runtime;
  runtime.removeImage = async (name) => {
    if (name === 'stuck') throw new RuntimeError('in use', { code: 'refused', what: 'RemoveImage' });
    await removeImage.call(runtime, name);
  };
  await images.collect();
  expect(left()).toEqual(['stuck']);
});

it('removes all that may go when the disk is short', async () => {
  add('named');
  add('a');
  add('b');
  wanted.add('named');
  freeBytes = 900;
  await images.freeAll();
  expect(left()).toEqual(['named']);
});

it('knows images as runtimes list them, however a pod names them', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const pod = podSchema.parse({
    metadata: { name: 'p', uid: 'u' },
    spec: {
      containers: [
        { name: 'a', image: 'nginx' },
        { name: 'b', image: `r.test/x:1@${digest}` },
      ],
      initContainers: [
        { name: 'i', image: 'team/tool:2' },
        { name: 'bad', image: '::' },
      ],
    },
  });
  expect([...imageNames([pod])]).toEqual([
    'docker.io/library/nginx:latest',
    `r.test/x:1@${digest}`,
    `r.test/x@${digest}`,
    'docker.io/team/tool:2',
  ]);
});
