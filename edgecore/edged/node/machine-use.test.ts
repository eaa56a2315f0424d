import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { filesystemUse, parseInterfaces, parseMemory, parseStat, readMachineUse } from './machine-use.ts';

it('takes the cache that can go at once for available memory', () => {
  const meminfo =
    'MemTotal:        1000 kB\nMemFree:          100 kB\nAnonPages:       400 kB\n' +
    'Inactive:         350 kB\nInactive(file):   300 kB\n';
  expect(parseMemory(meminfo)).toEqual({
    capacityBytes: 1000 * 1024,
    availableBytes: 400 * 1024,
    usageBytes: 900 * 1024,
    workingSetBytes: 600 * 1024,
    rssBytes: 400 * 1024,
  });
});

it('counts what the processors worked, not what they waited', () => {
  const stat = 'cpu  100 20 30 9999 8888 5 5 40 0 0\ncpu0 1 1 1 1\nbtime 1700000000\n';
  expect(parseStat(stat)).toEqual({ cpuNanoseconds: 200 * 1e7, bootedAtMs: 1_700_000_000_000 });
});

it('reads interfaces without the loopback', () => {
  const text =
    'Inter-|   Receive                    |  Transmit\n face |bytes    packets errs drop\n' +
    '    lo: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n' +
    '  eth0: 100 2 3 0 0 0 0 0 200 4 5 0 0 0 0 0\n';
  expect(parseInterfaces(text)).toEqual([
    { name: 'eth0', rxBytes: 100, rxErrors: 3, txBytes: 200, txErrors: 5 },
  ]);
});

it('puts the interface first that leads out', () => {
  const line = (name: string) => `${name}: 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n`;
  const routes = 'Iface\tDestination\tGateway\nbr0\t0000FEA9\t0\neth1\t00000000\t0101A8C0\n';
  const text = ['br0', 'eth0', 'eth1'].map(line).join('');
  expect(parseInterfaces(text, routes).map((it) => it.name)).toEqual(['eth1', 'br0', 'eth0']);
});

it('reads this machine', async () => {
  const use = await readMachineUse(5, { nodeDirectory: tmpdir(), imageDirectory: undefined });
  expect(use.memory.capacityBytes).toBeGreaterThan(use.memory.availableBytes);
  expect(use.memory.availableBytes).toBeGreaterThan(0);
  expect(use.cpuNanoseconds).toBeGreaterThan(0);
  expect(use.processes.max).toBeGreaterThan(use.processes.current);
  expect(use.processes.current).toBeGreaterThan(0);
  expect(use.nodefs?.capacityBytes).toBeGreaterThan(use.nodefs?.availableBytes ?? Number.MAX_VALUE);
  expect(use.imagefs).toBeUndefined();
  expect(await filesystemUse('/no/such/place')).toBeUndefined();
});

it('does without what the machine does not tell', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'hawser-proc-'));
  await writeFile(join(directory, 'meminfo'), 'MemTotal: 10 kB\n');
  const places = { nodeDirectory: '/no/such/place', imageDirectory: '/no/such/place' };
  expect(await readMachineUse(5, places, directory)).toMatchObject({
    memory: { capacityBytes: 10 * 1024 },
    nodefs: undefined,
    processes: { max: 0, current: 0 },
    interfaces: [],
  });
  await rm(directory, { recursive: true });
});
