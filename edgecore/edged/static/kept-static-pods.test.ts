import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { KeptStaticPods } from './kept-static-pods.ts';
import { staticPod } from './static-pod-files.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hawser-kept-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const judgedBy = { nodeName: 'edge-1', isolated: true };
const manifest = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web' }, spec: { containers: [] } };
const pod = staticPod('web.yaml', JSON.stringify(manifest), { directory: '/m', nodeName: 'edge-1' });
const recalled = (by = judgedBy) => [...new KeptStaticPods(directory, by).recall()];

it('gives a pod back as it was, and forgets it with its file', () => {
  const kept = new KeptStaticPods(directory, judgedBy);
  kept.keep(new Map([['web.yaml', pod]]));
  expect(recalled()).toEqual([['web.yaml', pod]]);
  kept.keep(new Map());
  expect(recalled()).toEqual([]);
  expect(readdirSync(directory)).toEqual([]);
});

it('gives nothing that was judged for another node, or for containers that were isolated', () => {
  new KeptStaticPods(directory, judgedBy).keep(new Map([['web.yaml', pod]]));
  expect(recalled({ ...judgedBy, nodeName: 'edge-2' })).toEqual([]);
  expect(recalled({ ...judgedBy, isolated: false })).toEqual([]);
});

it('is not hurt by what a power cut has left of a file', () => {
  writeFileSync(join(directory, 'half.json'), '{"file":');
  expect(recalled()).toEqual([]);
  new KeptStaticPods(directory, judgedBy).keep(new Map([['web.yaml', pod]]));
  expect(recalled()).toEqual([['web.yaml', pod]]);
});
