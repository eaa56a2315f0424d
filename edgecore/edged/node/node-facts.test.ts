import { readFile } from 'node:fs/promises';
import { release, tmpdir, totalmem } from 'node:os';
import { expect, it } from 'vitest';
import { edgedConfigSchema } from '../config.ts';
import { readNodeFacts, resourcesOf } from './node-facts.ts';

const defaults = edgedConfigSchema.parse({}).tailoredKubeletConfig;
const gigabyte = 1024 ** 3;
const machine = { cpus: 4, memoryBytes: gigabyte, diskBytes: 10 * gigabyte, hugepages: new Map() };

it('keeps back from pods what the thresholds of eviction want left', () => {
  expect(resourcesOf(machine, defaults)).toEqual({
    capacity: { cpu: '4', memory: '1048576Ki', 'ephemeral-storage': '10485760Ki', pods: '110' },
    allocatable: {
      cpu: '4',
      memory: '946176Ki',
      'ephemeral-storage': String(9 * gigabyte),
      pods: '110',
    },
  });
});

it('keeps back what is reserved, and memory that is in huge pages', () => {
  const kept = {
    ...defaults,
    evictionHard: {},
    kubeReserved: { cpu: '100m', memory: '100Mi' },
    systemReserved: { cpu: '200m', memory: '124Mi', 'ephemeral-storage': '1Gi' },
  };
  const { capacity, allocatable } = resourcesOf(
    { ...machine, hugepages: new Map([['2Mi', 200 * 1024 ** 2]]) },
    kept,
  );
  expect(capacity).toMatchObject({ cpu: '4', 'hugepages-2Mi': '204800Ki' });
  expect(allocatable).toEqual({
    cpu: '3700m',
    memory: `${600 * 1024}Ki`,
    'ephemeral-storage': String(9 * gigabyte),
    pods: '110',
    'hugepages-2Mi': '204800Ki',
  });
});

it('tells the truth about this machine', async () => {
  const options = { nodeIp: '', interfaceName: '', rootDirectory: tmpdir(), kubelet: defaults };
  const facts = await readNodeFacts(options);
  const osRelease = await readFile('/etc/os-release', 'utf8').catch(() => '');
  expect(facts).toMatchObject({
    kernelVersion: release(),
    capacity: { memory: `${Math.floor(totalmem() / 1024)}Ki` },
  });
  expect(osRelease === '' || osRelease.includes(facts.osImage)).toBe(true);
  expect(facts.internalIp).toMatch(/[.:]/);
  expect(facts.bootId).toMatch(/^[0-9a-f-]{36}$/);
});
