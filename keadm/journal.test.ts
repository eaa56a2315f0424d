import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Journal, removeJournal } from './journal.ts';

let file: string;

beforeEach(async () => {
  file = join(await mkdtemp(join(tmpdir(), 'hawser-journal-')), 'lib/keadm.json');
});

afterEach(() => rm(join(file, '../..'), { recursive: true, force: true }));

it('is found again as it was written, each thing once, readable to its owner only', async () => {
  const journal = await Journal.open(file, 'edge', '0.1.0');
  for (const path of ['/a', '/b', '/a']) await journal.addPath(path);
  await journal.addService('edgecore');
  await journal.setFacts({ nodeName: 'edge-1' });
  await journal.setFacts({ instanceId: 'x' });
  expect(await Journal.read(file)).toEqual({
    version: '0.1.0',
    role: 'edge',
    paths: ['/a', '/b'],
    services: ['edgecore'],
    facts: { nodeName: 'edge-1', instanceId: 'x' },
  });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const again = await Journal.open(file, 'edge', '0.2.0');
  expect(again.data.facts.nodeName).toBe('edge-1');
});

it('is absent before, and after it was removed', async () => {
  expect(await Journal.read(file)).toBeUndefined();
  await (await Journal.open(file, 'cloud', '0.1.0')).addPath('/a');
  await removeJournal(file);
  expect(await Journal.read(file)).toBeUndefined();
});

it('is not taken for one when it is something else', async () => {
  await (await Journal.open(file, 'cloud', '0.1.0')).addPath('/a');
  await writeFile(file, '{"paths": "/"}');
  await expect(Journal.read(file)).rejects.toThrow();
});
