import { describe, expect, it } from 'vitest';
import { containerUser, type ImageUser } from '../container/container-user.ts';
import { parseResolvConf, podDns } from './dns.ts';
import { type Pod, podSchema } from './pod.ts';
import { hostsFile } from './pod-files.ts';
import { podHostname } from './pod-hostname.ts';
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
    expect(linuxContainer(pod, first(pod), gib, '/profiles')).toMatchObject({
      privileged: false,
      readOnlyRoot: true,
      noNewPrivileges: true,
      addCapabilities: ['NET_ADMIN'],
      dropCapabilities: ['ALL'],
      supplementalGroups: [5, 7],
      seccomp: { localhost: '/profiles/p.json' },
    });
    expect(linuxSandbox(pod)).toMatchObject({ seccomp: 'RuntimeDefault', privileged: false });
  });

  it.each(['', '/etc/p.json', 'a/../../p.json'])('takes no seccomp profile from %j', (localhostProfile) => {
    const pod = podOf({ securityContext: { seccompProfile: { type: 'Localhost', localhostProfile } } });
    expect(() => linuxContainer(pod, first(pod), gib, '/profiles')).toThrow('must be a path below /profiles');
  });

  it('lets a seccomp profile of a kind that it does not know not become none', () => {
    const pod = podOf({ securityContext: { seccompProfile: { type: 'Stricter' } } });
    expect(() => linuxContainer(pod, first(pod), gib, '/profiles')).toThrow('unknown seccomp profile type');
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
  const text = hostsFile(
    podOf({}, { hostname: 'h', subdomain: 'web', hostAliases }),
    '10.1.2.3',
    'edge.test',
  );
  expect(text).toContain('127.0.0.1\tlocalhost\n');
  expect(text).toContain('\n10.1.2.3\th.web.shop.svc.edge.test\th\n192.0.2.5\tdb\tdb.lan\n');
});

describe('the hostname of a pod', () => {
  it('is its name, or what it says, or its full name where it asks for that and has one', () => {
    expect(podHostname(podOf({}), '')).toBe('p');
    expect(podHostname(podOf({}, { hostname: 'h', setHostnameAsFQDN: true }), 'edge.test')).toBe('h');
    const full = podOf({}, { hostname: 'h', subdomain: 'web', setHostnameAsFQDN: true });
    expect(podHostname(full, 'edge.test')).toBe('h.web.shop.svc.edge.test');
    expect(podHostname(full, '')).toBe('h.web.shop.svc');
  });

  it('is refused in the kubelet’s words when the kernel would not take it', () => {
    const long = podOf({}, { hostname: 'h'.repeat(50), subdomain: 'web', setHostnameAsFQDN: true });
    expect(() => podHostname(long, 'edge.test')).toThrow(/too long \(64 characters is the max, 73 /);
  });
});

describe('the user of a container', () => {
  const userOf = (own: object, common: object, image: ImageUser = {}) => {
    const pod = podOf({ securityContext: own }, { securityContext: common });
    return containerUser(pod, first(pod), image);
  };
  const nonRoot = { runAsNonRoot: true };

  it('is the container’s own, else the pod’s, else the image’s', () => {
    expect(userOf({ runAsUser: 5 }, { runAsUser: 6, runAsGroup: 7 })).toEqual({
      runAsUser: 5,
      runAsGroup: 7,
    });
    expect(userOf({}, {})).toEqual({ runAsUser: undefined, runAsGroup: undefined });
    expect(userOf({ runAsGroup: 7 }, {}, { uid: 9 })).toEqual({ runAsUser: 9, runAsGroup: 7 });
    expect(userOf({ runAsGroup: 7 }, {}, {})).toEqual({ runAsUser: 0, runAsGroup: 7 });
    expect(userOf({}, nonRoot, { uid: 9 })).toEqual({ runAsUser: undefined, runAsGroup: undefined });
  });

  it.each([
    [{ runAsUser: 0 }, {}, "container's runAsUser breaks non-root policy"],
    [{}, {}, 'container has runAsNonRoot and image will run as root'],
    [{}, { uid: 0 }, 'container has runAsNonRoot and image will run as root'],
    [
      {},
      { name: 'www' },
      'container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root',
    ],
  ])('%j of an image of %j must not be root', (own, image, words) => {
    expect(() => userOf(own, nonRoot, image)).toThrow(`${words} (pod: "p_shop(u)", container: main)`);
  });
});
