/**
 * An edge whose network lets nothing in: a network namespace of its own that drops every connection which the cloud
 * might open to it. It joins, is Ready, runs a pod and ends it, with neither DNS nor kube-proxy anywhere.
 */

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packageRoot } from '#beehive/package-root.ts';
import { nodeSchema } from '#protocol/resources/node.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { describeUnless } from '#test/describe-unless.ts';
import { eventually, runCommand, Workspace } from './workspace.ts';

const pods = { apiVersion: 'v1', plural: 'pods', namespace: 'default' };

function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root for a network namespace';
  for (const [tool, flag] of [
    ['ip', '-V'],
    ['iptables', '-V'],
    ['nsenter', '-V'],
  ] as const) {
    try {
      execFileSync(tool, [flag], { stdio: 'ignore' });
    } catch {
      return `needs ${tool} (Debian: iproute2, iptables, util-linux)`;
    }
  }
  return undefined;
}

describeUnless(missing(), 'an edge that nothing can be opened to', () => {
  const id = process.pid % 60_000;
  const namespace = `hawser-${id}`;
  const [cloudSide, edgeSide] = [`hwc${id}`, `hwe${id}`];
  const net = `10.203.${Math.floor(id / 250)}`;
  const [cloudIp, edgeIp] = [`${net}.1`, `${net}.2`];
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { encoding: 'utf8' });
  let space: Workspace;

  beforeAll(async () => {
    run('ip', 'netns', 'add', namespace);
    run('ip', 'link', 'add', cloudSide, 'type', 'veth', 'peer', 'name', edgeSide, 'netns', namespace);
    run('ip', 'addr', 'add', `${cloudIp}/30`, 'dev', cloudSide);
    run('ip', 'link', 'set', cloudSide, 'up');
    run('ip', '-n', namespace, 'addr', 'add', `${edgeIp}/30`, 'dev', edgeSide);
    run('ip', '-n', namespace, 'link', 'set', edgeSide, 'up');
    run('ip', '-n', namespace, 'link', 'set', 'lo', 'up');
    run(
      'nsenter',
      `--net=/run/netns/${namespace}`,
      'iptables',
      '-A',
      'INPUT',
      '-i',
      edgeSide,
      '-p',
      'tcp',
      '--syn',
      '-j',
      'DROP',
    );
    space = await Workspace.open();
    const { code, stdout, stderr } = await space.init('--advertise-address', `127.0.0.1,${cloudIp}`);
    expect(code, stdout + stderr).toBe(0);
  });

  afterAll(async () => {
    await space?.close();
    run('ip', 'netns', 'del', namespace);
  });

  it('joins, is Ready, and runs a pod, by connections of its own only', async () => {
    const dir = space.edgeDir('behind');
    space.resetLater('edge', dir);
    const token = await space.token();
    const { code, stdout, stderr } = await runCommand(
      'nsenter',
      [
        `--net=/run/netns/${namespace}`,
        ...[process.execPath, join(packageRoot(), 'dist/keadm.js'), 'join', '--data-dir', dir],
        ...['--edgenode-name', 'behind', '--runtime', 'process', '--token', token],
        ...['--cloudcore-ipport', `${cloudIp}:${space.ports.hub}`, '--certport', `${space.ports.bootstrap}`],
      ],
      space.dir,
    );
    expect(code, stdout + stderr).toBe(0);
    const api = await space.api();
    await eventually('the node Ready', 60_000, async () => {
      const node = nodeSchema.parse(await api.get({ apiVersion: 'v1', plural: 'nodes', name: 'behind' }));
      const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === 'True' ? true : undefined;
    });
    const containers = [{ name: 'main', image: 'busybox', command: ['/bin/sh', '-c', 'sleep 600'] }];
    await api.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'inside', namespace: 'default' },
      spec: { nodeName: 'behind', terminationGracePeriodSeconds: 1, containers },
    });
    await eventually('the pod Running', 60_000, async () => {
      const pod = podSchema.parse(await api.get({ ...pods, name: 'inside' }));
      return pod.status?.phase === 'Running' ? true : undefined;
    });
    await api.delete({ ...pods, name: 'inside' });
    await eventually('the pod gone', 60_000, async () => {
      const { items } = await api.list(pods);
      return items.length === 0 ? true : undefined;
    });
    const table = run('nsenter', `--net=/run/netns/${namespace}`, 'iptables', '-nvxL', 'INPUT');
    const [packets] = (table.split('\n').find((line) => line.includes('DROP')) ?? '').trim().split(/\s+/);
    expect(packets, table).toBe('0');
    // Nothing of a cluster's own DNS or proxy was there, and nothing asked for it.
    const system = await api.list({ ...pods, namespace: 'kube-system' });
    expect(system.items).toEqual([]);
  });

  it('has no code that knows kube-system, CoreDNS or kube-proxy', () => {
    const folder = join(packageRoot(), 'edgecore');
    const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
      (file) => file.endsWith('.ts') && !file.endsWith('.test.ts'),
    );
    expect(sources.length).toBeGreaterThan(50);
    const naming = sources.filter((file) =>
      /kube-system|coredns|kube-proxy/i.test(readFileSync(join(folder, file), 'utf8')),
    );
    expect(naming).toEqual([]);
  });
});
