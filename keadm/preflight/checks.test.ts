import { describe, expect, it } from 'vitest';
import { check } from './checks.ts';
import { type Facts, nftRefusesInput } from './facts.ts';
import { type Finding, formatFindings } from './finding.ts';
import type { Plan } from './plan.ts';

const nowMs = Date.UTC(2026, 5, 1);
const gibibyte = 1024 ** 3;
const fine: Facts = {
  arch: 'arm64',
  isRaspberryPi: false,
  bootFile: '/etc/default/grub',
  cpus: 4,
  load: 0.5,
  memoryAvailableBytes: gibibyte,
  memoryCgroup: true,
  swaps: [],
  disk: { path: '/var/lib', freeBytes: 20 * gibibyte },
  pids: { used: 100, max: 32_768 },
  seLinux: 'off',
  firewalls: [],
  bridgeCallsIptables: true,
  forwardsIp: true,
  nowMs,
  installedMs: nowMs - 1000,
  hostName: 'kitchen',
  kubelet: false,
  runtimeAt: '/run/containerd/containerd.sock',
  runtimeCgroupDriver: undefined,
  missingTools: [],
  namespaceRefused: undefined,
  ports: [{ port: 10000, host: '0.0.0.0', use: 'CloudHub', change: '--set x=PORT', free: true }],
  cloud: { host: 'cloud', ports: [10000, 10002], nameFailure: undefined, unreachable: [], nowMs },
};
const edge: Plan = {
  role: 'edge',
  dataDir: '/var/lib/kubeedge',
  runtime: 'cri',
  runtimeEndpoint: 'unix:///run/containerd/containerd.sock',
  cgroupDriver: undefined,
  nodeName: undefined,
  ports: [],
  cloud: undefined,
};
const cloud: Plan = { ...edge, role: 'cloud', runtime: 'process' };

/** What is not well. */
function found(
  change: Partial<Facts>,
  plan: Partial<Plan> = {},
): Pick<Finding, 'name' | 'verdict' | 'fix'>[] {
  return check({ ...fine, ...change }, { ...edge, ...plan })
    .filter(({ verdict }) => verdict !== 'pass')
    .map(({ name, verdict, fix }) => ({ name, verdict, ...(fix === undefined ? {} : { fix }) }));
}

const words = 'cgroup_enable=cpuset cgroup_memory=1 cgroup_enable=memory';

describe('the cgroup driver', () => {
  it.each([
    ['systemd', 'cgroupfs', /SystemdCgroup = true/],
    ['cgroupfs', 'systemd', /SystemdCgroup = false/],
  ] as const)('%s asked of a runtime with %s: both are named, and the fix', (asked, used, fix) => {
    const findings = check({ ...fine, runtimeCgroupDriver: used }, { ...edge, cgroupDriver: asked });
    expect(findings.filter(({ verdict }) => verdict !== 'pass')).toEqual([
      {
        name: 'cgroup-driver',
        subject: 'runtime',
        verdict: 'fail',
        text: `${asked} is asked for, and the container runtime uses ${used}`,
        fix: expect.stringMatching(fix),
      },
    ]);
  });

  it.each([
    ['nothing asked', undefined, 'systemd'],
    ['the same', 'systemd', 'systemd'],
    ['no runtime that tells', 'systemd', undefined],
  ] as const)('%s: all is well', (_, cgroupDriver, runtimeCgroupDriver) => {
    expect(found({ runtimeCgroupDriver }, { cgroupDriver })).toEqual([]);
  });
});

describe('the checks', () => {
  it('find nothing on a machine that is well, and show each all the same', () => {
    for (const plan of [edge, cloud]) {
      const findings = check(fine, plan);
      expect(findings.filter(({ verdict }) => verdict !== 'pass')).toEqual([]);
      expect(findings.length).toBeGreaterThanOrEqual(10);
      expect(new Set(findings.map(({ name }) => name)).size).toBe(findings.length);
    }
    const names = check(fine, edge).map(({ name }) => name);
    for (const name of ['swap', 'selinux', 'firewall', 'bridge-nf-call', 'ip-forward', 'cgroup-memory'])
      expect(names).toContain(name);
  });

  it.each([
    [
      { isRaspberryPi: true, bootFile: '/boot/firmware/cmdline.txt' },
      /at the end of the one line in \/boot\/firmware\/cmdline\.txt, then reboot/,
    ],
    [{ isRaspberryPi: true, bootFile: '/boot/cmdline.txt' }, /in \/boot\/cmdline\.txt/],
    [{}, /GRUB_CMDLINE_LINUX in \/etc\/default\/grub, run `update-grub`/],
  ])('memory cgroup off: the exact words and the file for this system, %#', (machine, where) => {
    const [finding] = found({ ...machine, memoryCgroup: false });
    expect(finding).toMatchObject({ name: 'cgroup-memory', verdict: 'fail' });
    expect(finding?.fix).toContain(`\`${words}\``);
    expect(finding?.fix).toMatch(where);
  });

  it.each(['process', 'auto'] as const)('memory cgroup off is a warning with runtime %s', (runtime) => {
    expect(found({ memoryCgroup: false }, { runtime })).toMatchObject([
      { name: 'cgroup-memory', verdict: 'warn' },
    ]);
  });

  const table: [string, Partial<Facts>, Partial<Plan>, string, RegExp][] = [
    ['swap on', { swaps: ['/swapfile'] }, {}, 'warn swap', /swapoff -a/],
    ['SELinux', { seLinux: 'enforcing' }, {}, 'warn selinux', /setenforce 0/],
    [
      'bridge off',
      { bridgeCallsIptables: false },
      {},
      'warn bridge-nf-call',
      /sysctl -w net\.bridge\.bridge-nf-call-iptables=1/,
    ],
    ['bridge absent', { bridgeCallsIptables: undefined }, {}, 'warn bridge-nf-call', /modprobe br_netfilter/],
    ['no forwarding', { forwardsIp: false }, {}, 'warn ip-forward', /sysctl -w net\.ipv4\.ip_forward=1/],
    ['a kubelet', { kubelet: true }, {}, 'warn kubelet', /systemctl disable --now kubelet/],
    ['no runtime', { runtimeAt: undefined }, {}, 'fail container-runtime', /--remote-runtime-endpoint/],
    ['no tools', { missingTools: ['unshare'] }, { runtime: 'process' }, 'fail tools', /util-linux/],
    ['no namespaces', { namespaceRefused: 'EPERM' }, { runtime: 'process' }, 'warn tools', /user namespaces/],
    ['localhost', { hostName: 'localhost' }, {}, 'fail node-name', /--edgenode-name/],
    ['a name of many', { hostName: 'raspberrypi' }, {}, 'warn node-name', /--edgenode-name/],
    ['a bad name', {}, { nodeName: 'Ki_tchen' }, 'fail node-name', /--edgenode-name/],
    ['old clock', { nowMs: 0, cloud: undefined }, {}, 'fail clock', /set-ntp/],
    ['clock apart', { nowMs: nowMs + 120_000 }, {}, 'warn clock', /set-ntp/],
    ['clock far apart', { nowMs: nowMs + 3_600_000 }, {}, 'fail clock', /set-ntp/],
    ['little memory', { memoryAvailableBytes: 100 * 1024 ** 2 }, {}, 'warn memory', /memory/],
    ['no memory', { memoryAvailableBytes: 1024 ** 2 }, {}, 'fail memory', /memory/],
    ['disk full', { disk: { path: '/', freeBytes: 0 } }, {}, 'fail disk', /--data-dir/],
    ['processes', { pids: { used: 990, max: 1000 } }, {}, 'fail pid', /pid_max/],
    ['load', { load: 99 }, {}, 'warn cpu', /top/],
    ['architecture', { arch: 'mips' }, {}, 'warn arch', /tried/],
  ];
  it.each(table)('%s', (_, change, plan, expected, fix) => {
    const findings = found(change, plan);
    expect(findings.map(({ name, verdict }) => `${verdict} ${name}`)).toEqual([expected]);
    expect(findings[0]?.fix).toMatch(fix);
  });

  it('a firewall is a warning with the ports on the cloud, and nothing to an edge', () => {
    const [finding] = found({ firewalls: ['nftables'] }, cloud);
    expect(found({ firewalls: ['nftables'] })).toEqual([]);
    const plan = { ...cloud, ports: fine.ports };
    expect(found({ firewalls: ['nftables'] }, plan)[0]?.fix).toMatch(/tcp dport \{ 10000 \} accept/);
    expect(finding).toMatchObject({ name: 'firewall', verdict: 'warn' });
  });

  it('ports that are taken, with the flag that moves them', () => {
    const [port] = fine.ports.map((each) => ({ ...each, free: false }));
    const [finding] = found({ ports: port === undefined ? [] : [port] }, cloud);
    expect(finding).toMatchObject({ name: 'port-10000', verdict: 'fail' });
    expect(finding?.fix).toContain('--set x=PORT');
  });

  it('a cloud that has no address, or does not answer', () => {
    const seen = { host: 'cloud', ports: [10000, 10002] as const, nowMs: undefined };
    expect(found({ cloud: { ...seen, nameFailure: 'ENOTFOUND', unreachable: [] } })).toMatchObject([
      { name: 'dns', verdict: 'fail', fix: expect.stringContaining('/etc/resolv.conf') },
    ]);
    const unreachable = [{ port: 10002, reason: 'ECONNREFUSED' }];
    expect(found({ cloud: { ...seen, nameFailure: undefined, unreachable } })).toMatchObject([
      { name: 'cloud', verdict: 'fail', fix: expect.stringContaining('firewall') },
    ]);
  });

  it('are printed one a line, with the fix below', () => {
    const lines = formatFindings(check({ ...fine, swaps: ['/swapfile'] }, edge));
    expect(lines.find((line) => line.includes('swap '))).toMatch(/^ {2}! swap +swap is on \(\/swapfile\)/);
    expect(lines.filter((line) => line.includes('→'))).toHaveLength(1);
  });
});

it('a ruleset of nftables refuses input by policy or by rule', () => {
  const chain = (body: string) =>
    `table inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0; ${body}\n\t}\n`;
  const forward = '\tchain forward {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}';
  expect(nftRefusesInput(chain('policy drop;') + forward)).toBe(true);
  expect(nftRefusesInput(chain('policy accept;\n\t\tip saddr 10.0.0.0/8 reject') + forward)).toBe(true);
  expect(nftRefusesInput(chain('policy accept;') + forward)).toBe(false);
  expect(nftRefusesInput('')).toBe(false);
});
