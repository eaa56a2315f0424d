import { describe, expect, it } from 'vitest';
import { edgedConfigSchema } from '../config.ts';
import type { MachineUse } from './machine-use.ts';
import { Pressure } from './pressure.ts';
import { amountOf, hardDefaults, isAmount, type ThresholdConfig, thresholdsOf } from './thresholds.ts';

const megabyte = 1024 ** 2;
const none: ThresholdConfig = { hard: {}, soft: {}, softMs: {}, minReclaim: {} };
const minute = 60_000;

function machine(memoryMegabytes: number, disk: { free?: number; inodesFree?: number } = {}): MachineUse {
  const filesystem = {
    capacityBytes: 1000,
    availableBytes: disk.free ?? 500,
    usedBytes: 0,
    inodes: 1000,
    inodesFree: disk.inodesFree ?? 500,
  };
  const availableBytes = memoryMegabytes * megabyte;
  return {
    atMs: 0,
    bootedAtMs: 0,
    cpuNanoseconds: 0,
    memory: {
      capacityBytes: 1024 * megabyte,
      availableBytes,
      usageBytes: 0,
      workingSetBytes: 0,
      rssBytes: 0,
    },
    nodefs: filesystem,
    imagefs: undefined,
    processes: { max: 1000, current: 990 },
    interfaces: [],
  };
}

describe('thresholds', () => {
  it('are amounts or parts', () => {
    expect(amountOf('100Mi', 0)).toBe(100 * megabyte);
    expect(amountOf('10%', 1000)).toBe(100);
    expect(['100Mi', '10%', '0'].every(isAmount)).toBe(true);
    expect(['', '110%', '-1', 'much', '-5%'].some(isAmount)).toBe(false);
  });

  it('are the kubelet’s where nothing is said, and only what is said where something is', () => {
    expect(edgedConfigSchema.parse({}).tailoredKubeletConfig.evictionHard).toEqual(hardDefaults);
    const said = edgedConfigSchema.parse({
      tailoredKubeletConfig: { evictionHard: { 'memory.available': '5%' } },
    });
    expect(thresholdsOf({ ...none, hard: said.tailoredKubeletConfig.evictionHard })).toHaveLength(1);
    expect(thresholdsOf({ ...none, hard: { 'nodefs.available': '0%' } })).toEqual([]);
    const wrong = { tailoredKubeletConfig: { evictionHard: { 'memory.available': 'much' } } };
    expect(edgedConfigSchema.safeParse(wrong).success).toBe(false);
  });
});

describe('pressure', () => {
  it('begins below the threshold, and ends a while after it was last seen', () => {
    const pressure = new Pressure(thresholdsOf({ ...none, hard: hardDefaults }), 5 * minute);
    expect(pressure.look(machine(100), 0)).toEqual([]);
    expect(pressure.conditions).toEqual([]);
    expect(pressure.look(machine(99), 1)).toMatchObject([
      { threshold: { signal: 'memory.available' }, observation: { available: 99 * megabyte } },
    ]);
    expect(pressure.conditions).toEqual(['MemoryPressure']);
    expect(pressure.look(machine(500), minute)).toEqual([]);
    expect(pressure.conditions).toEqual(['MemoryPressure']);
    pressure.look(machine(500), 5 * minute);
    expect(pressure.conditions).toEqual(['MemoryPressure']);
    pressure.look(machine(500), 5 * minute + 1);
    expect(pressure.conditions).toEqual([]);
  });

  it('deals with memory before disks, and knows inodes and processes', () => {
    const hard = { ...hardDefaults, 'pid.available': '2%' };
    const pressure = new Pressure(thresholdsOf({ ...none, hard }), 0);
    const met = pressure.look(machine(1, { free: 99, inodesFree: 49 }), 0);
    expect(met.map((it) => it.threshold.signal)).toEqual([
      'memory.available',
      'nodefs.available',
      'nodefs.inodesFree',
      'pid.available',
    ]);
    expect([...pressure.conditions].sort()).toEqual(['DiskPressure', 'MemoryPressure', 'PIDPressure']);
  });

  it('waits for the grace of a soft threshold, from the beginning when it was over meanwhile', () => {
    const soft = { 'memory.available': '200Mi' };
    const softMs = { 'memory.available': minute };
    const pressure = new Pressure(thresholdsOf({ ...none, soft, softMs }), 0);
    expect(pressure.look(machine(150), 0)).toEqual([]);
    expect(pressure.conditions).toEqual(['MemoryPressure']);
    expect(pressure.look(machine(250), 30_000)).toEqual([]);
    expect(pressure.look(machine(150), 40_000)).toEqual([]);
    expect(pressure.look(machine(150), 99_000)).toEqual([]);
    expect(pressure.look(machine(150), 100_000)).toHaveLength(1);
  });

  it('is over only when the least that is to be reclaimed is there too', () => {
    const minReclaim = { 'memory.available': '100Mi' };
    const hard = { 'memory.available': '100Mi' };
    const pressure = new Pressure(thresholdsOf({ ...none, hard, minReclaim }), 0);
    expect(pressure.look(machine(150), 0)).toEqual([]);
    expect(pressure.look(machine(99), 1)).toHaveLength(1);
    expect(pressure.look(machine(150), 2)).toHaveLength(1);
    expect(pressure.look(machine(200), 3)).toEqual([]);
  });
});
