import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createCgroups, driverFromInfo } from './cgroups.ts';

describe('cgroups of pods', () => {
  it('are named as their driver wants it', () => {
    const uid = '0a1b-2c';
    expect(createCgroups('cgroupfs').podParent(uid, 'Burstable')).toBe('/hawser/burstable/pod0a1b-2c');
    expect(createCgroups('cgroupfs').podParent(uid, 'Guaranteed')).toBe('/hawser/pod0a1b-2c');
    expect(createCgroups('systemd').podParent(uid, 'BestEffort')).toBe('hawser-besteffort-pod0a1b_2c.slice');
  });

  it('are removed in every tree, those of other pods stay', async () => {
    const root = mkdtempSync(join(tmpdir(), 'hawser-cgroups-'));
    for (const tree of ['cpu', 'memory'])
      for (const pod of ['poda', 'podb'])
        mkdirSync(join(root, tree, 'hawser/burstable', pod), { recursive: true });
    const cgroups = createCgroups('cgroupfs', root);
    await cgroups.remove(cgroups.podParent('a', 'Burstable'));
    expect(readdirSync(join(root, 'cpu/hawser/burstable'))).toEqual(['podb']);
    expect(readdirSync(join(root, 'memory/hawser/burstable'))).toEqual(['podb']);
    rmSync(root, { recursive: true });
  });

  // As containerd 1.6 answers a verbose Status; a machine with systemd as driver is not at hand here.
  it('learns the driver from what containerd tells of its configuration', () => {
    const config = (value: boolean) =>
      `{"containerd":{"runtimes":{"runc":{"runtimeType":"io.containerd.runc.v2","options":{"SystemdCgroup":${value}}}}}}`;
    expect(driverFromInfo({ config: config(true) })).toBe('systemd');
    expect(driverFromInfo({ config: config(false) })).toBe('cgroupfs');
    expect(driverFromInfo({ golang: '"go1.19"' })).toBeUndefined();
  });
});
