import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { debugCheck } from '../commands/debug.ts';
import { printSteps } from '../steps.ts';
import { readFacts } from './facts.ts';
import type { Plan } from './plan.ts';
import { preflight } from './preflight.ts';

let root: string;
let plan: Plan;
let lines: string[];
const host = () => ({ clock: systemClock, steps: printSteps((line) => lines.push(line), systemClock) });

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hawser-machine-'));
  lines = [];
  plan = {
    role: 'edge',
    dataDir: join(root, 'not', 'yet'),
    runtime: 'cri',
    runtimeEndpoint: `unix://${root}/none.sock`,
    cgroupDriver: undefined,
    nodeName: 'kitchen',
    ports: [],
    cloud: undefined,
  };
  put('proc/meminfo', 'MemTotal:        1000000 kB\nMemAvailable:     900000 kB\n');
  put(
    'proc/swaps',
    'Filename\t\tType\t\tSize\tUsed\tPriority\n/var/swap                               file\t\t102396\t0\t-2\n',
  );
  put('proc/sys/kernel/pid_max', '32768\n');
  put('proc/sys/net/ipv4/ip_forward', '1\n');
  put('proc/7/comm', 'kubelet\n');
  put('proc/loadavg', '0.10 0.20 0.30 1/100 200\n');
  put('proc/cgroups', '#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t7\t1\nmemory\t0\t80\t0\n');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

describe('pre-flight', () => {
  it('of a Raspberry Pi without the memory cgroup ends join with the line to add, and debug check says the same', async () => {
    put('proc/device-tree/model', 'Raspberry Pi 3 Model B Plus Rev 1.3\0');
    put('boot/firmware/cmdline.txt', 'console=tty1 root=PARTUUID=1 rootwait');
    const line =
      'add `cgroup_enable=cpuset cgroup_memory=1 cgroup_enable=memory` at the end of the one line in /boot/firmware/cmdline.txt, then reboot';
    await expect(preflight(plan, ['container-runtime'], host(), root)).rejects.toMatchObject({
      code: 'preflight',
      detail: { failed: ['cgroup-memory'] },
      message: expect.stringContaining(line),
    });
    const options = { runtime: 'cri', dataDir: plan.dataDir, nodeName: 'kitchen' } as const;
    const findings = await debugCheck(['mem'], options, host(), root);
    expect(findings.find(({ name }) => name === 'cgroup-memory')).toMatchObject({
      verdict: 'fail',
      fix: line,
    });
  });

  it('reads the older place of the boot line, and both versions of cgroups', async () => {
    put('proc/device-tree/model', 'Raspberry Pi 4 Model B');
    expect(await readFacts(plan, host(), root)).toMatchObject({
      bootFile: '/boot/cmdline.txt',
      memoryCgroup: false,
      swaps: ['/var/swap'],
      kubelet: true,
      runtimeAt: undefined,
      runtimeCgroupDriver: undefined,
      forwardsIp: true,
      bridgeCallsIptables: undefined,
      seLinux: 'off',
    });
    put('sys/fs/cgroup/cgroup.controllers', 'cpuset cpu io memory pids\n');
    expect(await readFacts(plan, host(), root)).toMatchObject({ memoryCgroup: true });
    put('sys/fs/cgroup/cgroup.controllers', 'cpuset cpu io pids\n');
    put('sys/fs/selinux/enforce', '1');
    expect(await readFacts(plan, host(), root)).toMatchObject({ memoryCgroup: false, seLinux: 'enforcing' });
  });

  it('shows warnings and goes on; failures only when they are to be ignored', async () => {
    await preflight(plan, ['all'], host(), root);
    expect(lines.join('\n')).toMatch(
      /✓ pre-flight: \d+ checks, \d to know of.*! swap.*✗ cgroup-memory.*! kubelet/s,
    );
    await expect(preflight(plan, ['cgroup-memory'], host(), root)).rejects.toMatchObject({
      detail: { failed: ['container-runtime'] },
    });
    await preflight(plan, ['cgroup-memory', 'container-runtime'], host(), root);
    await preflight({ ...plan, runtime: 'process' }, [], host(), root);
  });

  it('sees which ports are taken and whether the cloud answers', async () => {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const taken = { port, host: '127.0.0.1', use: 'CloudHub', change: '--set' };
    const facts = await readFacts(
      { ...plan, ports: [taken], cloud: { host: '127.0.0.1', ports: [port, 1] } },
      host(),
      root,
    );
    expect(facts.ports).toEqual([{ ...taken, free: false }]);
    expect(facts.cloud).toMatchObject({
      nameFailure: undefined,
      unreachable: [{ port: 1, reason: 'ECONNREFUSED' }],
    });
    await new Promise((resolve) => server.close(resolve));
  });

  it('knows no subject that is none', async () => {
    await expect(debugCheck(['moon'], {}, host(), root)).rejects.toThrow(
      /"moon" is nothing to check; there are all, arch/,
    );
  });
});
