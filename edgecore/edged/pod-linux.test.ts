import { describe, expect, it } from 'vitest';
import { parseResolvConf, podDns } from './dns.ts';
import { type Pod, podSchema } from './pod.ts';
import { hostsFile } from './pod-files.ts';
import { linuxContainer, linuxResources, linuxSandbox, portMappings } from './pod-linux.ts';

const gib = 2 ** 30;
const podOf = (container: object, spec: object = {}): Pod =>
  podSchema.parse({
    metadata: { name: 'p', namespace: 'shop', uid: 'u' },
    spec: { containers: [{ name: 'main', image: 'i', ...container }], ...spec },
  });
function first(pod: Pod) {
  const [container] = pod.spec.containers;
  if (container === undefined) throw new Error('a pod without containers');
  return container;
}

describe('what a pod asks of cgroups', () => {
  const resourcesOf = (resources: object) => {
    const pod = podOf({ resources });
    return linuxResources(pod, first(pod), 10 * gib);
  };

  it('gives a pod that asks for nothing the least, and ends it first', () => {
    expect(resourcesOf({})).toEqual({
      cpuPeriod: 100_000,
      cpuQuota: 0,
      cpuShares: 2,
      memoryLimitBytes: 0,
      oomScoreAdj: 1000,
    });
  });

  it('turns requests into shares and limits into quotas', () => {
    expect(
      resourcesOf({ requests: { cpu: '250m', memory: '1Gi' }, limits: { cpu: '1500m', memory: '2Gi' } }),
    ).toEqual({
      cpuPeriod: 100_000,
      cpuQuota: 150_000,
      cpuShares: 256,
      memoryLimitBytes: 2 * gib,
      oomScoreAdj: 900,
    });
    expect(resourcesOf({ limits: { cpu: '1m', memory: '1Gi' } })).toMatchObject({
      cpuQuota: 1000,
      cpuShares: 2,
      oomScoreAdj: -997,
    });
  });
});

describe('what a pod asks of namespaces and rights', () => {
  it('lets the container have the last word over the pod', () => {
    const pod = podOf(
      {
        securityContext: {
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
          seccompProfile: { type: 'Localhost', localhostProfile: 'p.json' },
        },
      },
      {
        securityContext: { fsGroup: 7, supplementalGroups: [5], seccompProfile: { type: 'RuntimeDefault' } },
      },
    );
    expect(linuxContainer(pod, first(pod), gib)).toMatchObject({
      privileged: false,
      readOnlyRoot: true,
      noNewPrivileges: true,
      addCapabilities: ['NET_ADMIN'],
      dropCapabilities: ['ALL'],
      supplementalGroups: [5, 7],
      seccomp: { localhost: 'p.json' },
    });
    expect(linuxSandbox(pod)).toMatchObject({ seccomp: 'RuntimeDefault', privileged: false });
  });

  it('refuses root where the pod forbids it', () => {
    const pod = podOf({ securityContext: { runAsUser: 0 } }, { securityContext: { runAsNonRoot: true } });
    expect(() => linuxContainer(pod, first(pod), gib)).toThrow('non-root');
  });

  it('maps host ports, but not those of a pod that has the host network anyway', () => {
    const ports = [{ containerPort: 80, hostPort: 8080, protocol: 'UDP' }, { containerPort: 81 }];
    expect(portMappings(podOf({ ports }))).toEqual([
      { containerPort: 80, hostPort: 8080, hostIp: '', protocol: 'UDP' },
    ]);
    expect(portMappings(podOf({ ports }, { hostNetwork: true }))).toEqual([]);
  });
});

describe('the resolver of a pod', () => {
  const machine = parseResolvConf(
    '# by hand\nnameserver 192.0.2.1\nnameserver 192.0.2.2 ; second\nsearch home.test lan\noptions timeout:1 ndots:2\n',
  );
  const cluster = { servers: ['10.96.0.10'], domain: 'cluster.local' };
  const none = { servers: [], domain: '' };

  it('is the cluster’s where there is one, and else the machine’s', () => {
    expect(podDns(podOf({}), none, machine)).toBeUndefined();
    expect(podDns(podOf({}), cluster, machine)).toEqual({
      servers: ['10.96.0.10'],
      searches: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'home.test', 'lan'],
      options: ['ndots:5'],
    });
    expect(podDns(podOf({}, { hostNetwork: true }), cluster, machine)).toBeUndefined();
    expect(podDns(podOf({}, { dnsPolicy: 'Default' }), cluster, machine)).toBeUndefined();
  });

  it('takes what the pod adds, and nothing else where it says None', () => {
    const dnsConfig = {
      nameservers: ['192.0.2.9'],
      searches: ['lan'],
      options: [{ name: 'ndots', value: '1' }],
    };
    expect(podDns(podOf({}, { dnsPolicy: 'Default', dnsConfig }), cluster, machine)).toEqual({
      servers: ['192.0.2.1', '192.0.2.2', '192.0.2.9'],
      searches: ['home.test', 'lan'],
      options: ['timeout:1', 'ndots:1'],
    });
    expect(podDns(podOf({}, { dnsPolicy: 'None', dnsConfig }), cluster, machine)).toEqual({
      servers: ['192.0.2.9'],
      searches: ['lan'],
      options: ['ndots:1'],
    });
  });
});

it('names a pod and its aliases in its hosts file', () => {
  const hostAliases = [{ ip: '192.0.2.5', hostnames: ['db', 'db.lan'] }];
  const text = hostsFile(podOf({}, { hostname: 'h', subdomain: 'web', hostAliases }), '10.1.2.3');
  expect(text).toContain('127.0.0.1\tlocalhost\n');
  expect(text).toContain('\n10.1.2.3\th.web h\n192.0.2.5\tdb\tdb.lan\n');
});
