import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '#beehive/log.ts';
import { image, refused, WorkingPods } from '#test/fixtures/working-pods.ts';
import type { ClaimObjects, ClusterObjects } from '../cluster-objects.ts';
import { RuntimeError } from '../runtime/runtime-service.ts';
import { createMachineMounts } from '../volumes/machine-mounts.ts';
import { createVolumes } from '../volumes/volumes.ts';
import { readPod } from './pod.ts';
import { createPodFiles } from './pod-files.ts';

interface BadPod {
  readonly container?: object;
  readonly spec?: object;
  /** What it waits with, and the words of the event that says why. */
  readonly reason: string;
  readonly event: string | RegExp;
  readonly setUp?: (at: Bench) => void;
  /** Mends the cause where it lies outside of the pod. */
  readonly mend?: (at: Bench) => void;
  /** Mends it in the pod. */
  readonly mended?: { readonly container?: object; readonly spec?: object };
}

interface Bench {
  readonly pods: WorkingPods;
  readonly known: Map<string, Record<string, string>>;
}

const from = (valueFrom: object) => ({ env: [{ name: 'A', valueFrom }] });
const mount = (more: object = {}) => ({ volumeMounts: [{ name: 'v', mountPath: '/m', ...more }] });
const volume = (source: object) => ({ volumes: [{ name: 'v', ...source }] });
const nonRoot = { securityContext: { runAsNonRoot: true } };
const other = 'registry.test/other:1';

const badPods: Readonly<Record<string, BadPod>> = {
  'an image that the registry lacks': {
    setUp: ({ pods }) => pods.runtime.handle.onPull(async () => Promise.reject(refused('not found'))),
    reason: 'ErrImagePull',
    event: `Failed: Failed to pull image "${image}": not found`,
    mend: ({ pods }) => pods.runtime.handle.onPull(async (reference) => reference),
  },
  'an image for other machines': {
    setUp: ({ pods }) =>
      pods.runtime.handle.onPull(async () => Promise.reject(refused('no match for platform in manifest'))),
    reason: 'ImagePullBackOff',
    event: `BackOff: Back-off pulling image "${image}"`,
    mend: ({ pods }) => pods.runtime.handle.onPull(async (reference) => reference),
  },
  'an image that may not be pulled': {
    container: { imagePullPolicy: 'Never' },
    reason: 'ErrImageNeverPull',
    event: `ErrImageNeverPull: Container image "${image}" is not present with pull policy of Never`,
    mend: ({ pods }) => void pods.runtime.handle.images.add(image),
  },
  'what is no name of an image': {
    container: { image: 'Not//AnImage' },
    reason: 'InvalidImageName',
    event: /^InspectFailed: Failed to apply default image tag "Not\/\/AnImage"/,
    mended: { container: { image: other } },
  },
  'a configMap that is missing': {
    container: { envFrom: [{ configMapRef: { name: 'm' } }] },
    reason: 'CreateContainerConfigError',
    event: 'Failed: Error: configmap "m" not found',
    mend: ({ known }) => void known.set('default/configmap/m', { k: 'v' }),
  },
  'a secret that is missing': {
    container: from({ secretKeyRef: { name: 's', key: 'k' } }),
    reason: 'CreateContainerConfigError',
    event: 'Failed: Error: secret "s" not found',
    mend: ({ known }) => void known.set('default/secret/s', { k: 'v' }),
  },
  'a key that is missing': {
    container: from({ configMapKeyRef: { name: 'm', key: 'k' } }),
    setUp: ({ known }) => void known.set('default/configmap/m', {}),
    reason: 'CreateContainerConfigError',
    event: "Failed: Error: couldn't find key k in ConfigMap default/m",
    mend: ({ known }) => void known.set('default/configmap/m', { k: 'v' }),
  },
  'a configMap of a volume that is missing': {
    container: mount(),
    spec: volume({ configMap: { name: 'm' } }),
    reason: 'ContainerCreating',
    event: 'FailedMount: MountVolume.SetUp failed for volume "v" : configmap "m" not found',
    mend: ({ known }) => void known.set('default/configmap/m', { k: 'v' }),
  },
  'a key of a volume that is missing': {
    container: mount(),
    spec: volume({ secret: { secretName: 's', items: [{ key: 'k', path: 'p' }] } }),
    setUp: ({ known }) => void known.set('default/secret/s', {}),
    reason: 'ContainerCreating',
    event:
      'FailedMount: MountVolume.SetUp failed for volume "v" : secret references non-existent config key: k',
    mend: ({ known }) => void known.set('default/secret/s', { k: 'v' }),
  },
  'a hostPath that is something else': {
    container: mount(),
    spec: volume({ hostPath: { path: '/proc/self/status', type: 'Directory' } }),
    reason: 'ContainerCreating',
    event: /FailedMount: .* hostPath type check failed: \/proc\/self\/status is not a Directory/,
  },
  'a kind of volume that is not supported': {
    container: mount(),
    spec: volume({ csi: { driver: 'd' } }),
    reason: 'ContainerCreating',
    event: /FailedMount: .* this kind of volume is not supported here/,
  },
  'a mount of a volume that the pod lacks': {
    container: mount(),
    reason: 'CreateContainerConfigError',
    event: 'Failed: Error: the pod has no volume v',
  },
  'a mountPath that is none': {
    container: mount({ mountPath: 'a:b' }),
    spec: volume({ emptyDir: {} }),
    reason: 'CreateContainerConfigError',
    event: 'Failed: Error: "a:b" cannot be a mountPath',
  },
  'a subPath that leaves its volume': {
    container: mount({ subPath: '../../etc' }),
    spec: volume({ emptyDir: {} }),
    reason: 'CreateContainerConfigError',
    event: "Failed: Error: unable to provision SubPath `../../etc`: must not contain '..'",
  },
  'a user that it forbids': {
    container: { securityContext: { runAsUser: 0 } },
    spec: nonRoot,
    reason: 'CreateContainerConfigError',
    event: `Failed: Error: container's runAsUser breaks non-root policy (pod: "app_default(u)", container: main)`,
  },
  'an image that runs as root where that is forbidden': {
    spec: nonRoot,
    reason: 'CreateContainerConfigError',
    event:
      'Failed: Error: container has runAsNonRoot and image will run as root (pod: "app_default(u)", container: main)',
  },
  'a variable that has no name': {
    container: { env: [{ name: 'A=B', value: 'x' }] },
    reason: 'CreateContainerConfigError',
    event: 'Failed: Error: "A=B" cannot be the name of a variable',
  },
  'a variable that the kernel would cut': {
    container: { env: [{ name: 'A', value: 'x\0y' }] },
    reason: 'CreateContainerConfigError',
    event: 'Failed: Error: the value of variable A holds a zero byte',
  },
  'a variable from a field that there is not': {
    container: from({ fieldRef: { fieldPath: 'spec.nothing' } }),
    reason: 'CreateContainerConfigError',
    event: 'Failed: Error: env A: no field spec.nothing',
  },
  'a variable from a container that there is not': {
    container: from({ resourceFieldRef: { containerName: 'none', resource: 'limits.cpu' } }),
    reason: 'CreateContainerConfigError',
    event: 'Failed: Error: container none not found',
  },
  'a seccomp profile of an unknown kind': {
    container: { securityContext: { seccompProfile: { type: 'Stricter' } } },
    reason: 'CreateContainerConfigError',
    event: 'Failed: Error: unknown seccomp profile type Stricter',
  },
  'a value that a newer API knows': {
    spec: { restartPolicy: 'Sometimes' },
    reason: 'CreateContainerConfigError',
    event:
      /Failed: Error: the spec holds what this version of edgecore does not understand: spec.restartPolicy/,
    mended: { spec: { restartPolicy: 'Always' } },
  },
  'a form that a newer API knows': {
    container: { command: 'a string' },
    reason: 'CreateContainerConfigError',
    event: /Failed: Error: the spec holds .* spec.containers.0.command/,
    mended: {},
  },
  'a command that is not there': {
    setUp: ({ pods }) =>
      pods.runtime.handle.failStart(
        'main',
        new RuntimeError('exec: "nope": executable file not found in $PATH', {
          code: 'cannot-start',
          name: 'main',
        }),
      ),
    reason: 'RunContainerError',
    event: 'Failed: Error: exec: "nope": executable file not found in $PATH',
    mend: ({ pods }) => pods.runtime.handle.failStart('main', undefined),
  },
  'a runtime class that the runtime lacks': {
    spec: { runtimeClassName: 'none' },
    setUp: ({ pods }) =>
      pods.runtime.handle.failSandbox(
        new RuntimeError('no runtime for "none" is configured', { code: 'cannot-run-sandbox', name: 'app' }),
      ),
    reason: 'ContainerCreating',
    event: 'FailedCreatePodSandBox: Failed to create pod sandbox: no runtime for "none" is configured',
    mend: ({ pods }) => pods.runtime.handle.failSandbox(undefined),
  },
  'a name that its kernel would not take': {
    spec: { subdomain: 'x'.repeat(60), setHostnameAsFQDN: true },
    reason: 'ContainerCreating',
    event: /FailedCreatePodSandBox: .*FQDN .* is too long/,
  },
};

describe('a bad pod', () => {
  let root: string;
  let bench: Bench;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'hawser-bad-pods-'));
    bench = { pods: new WorkingPods(), known: new Map() };
  });
  afterEach(async () => {
    await bench.pods.end();
    await rm(root, { recursive: true, force: true });
  });

  function work({ container = {}, spec = {} }: { readonly container?: object; readonly spec?: object }) {
    const { pods, known } = bench;
    const { clock } = pods;
    const objects: ClusterObjects & ClaimObjects = {
      claim: async () => undefined,
      persistentVolume: async () => undefined,
      async data(kind, namespace, name) {
        const data = known.get(`${namespace}/${kind}/${name}`);
        return data && new Map(Object.entries(data).map(([key, value]) => [key, Buffer.from(value)]));
      },
      token: async () => ({ token: '', expiresAtMs: 0 }),
    };
    const mounts = createMachineMounts();
    const volumes = createVolumes(root, { objects, clock, log: silentLog, memoryPlaces: [], mounts });
    const files = createPodFiles((uid) => join(root, 'pods', uid), '');
    return pods.work(pods.pod(container, {}, spec), { objects, volumes, files, root });
  }
  const until = (holds: () => boolean, what: string) =>
    expect
      .poll(
        async () => {
          await bench.pods.clock.advance(1000);
          return holds() ? what : [bench.pods.last()?.state, ...bench.pods.events.slice(-3)];
        },
        { interval: 1 },
      )
      .toBe(what);

  it.each(Object.entries(badPods))('with %s waits with the reason, and heals', async (_, bad) => {
    const { pods } = bench;
    bad.setUp?.(bench);
    const worker = work(bad);
    await until(() => pods.reasons().includes(bad.reason), bad.reason);
    const told = (text: string) =>
      typeof bad.event === 'string' ? text === bad.event : bad.event.test(text);
    await until(() => pods.events.some(told), 'event');
    expect(pods.statuses().at(-1)?.phase).toBe('Pending');
    expect(pods.calls('start')).toEqual([]);
    if (bad.mend === undefined && bad.mended === undefined) return;
    bad.mend?.(bench);
    const { container = {}, spec = {} } = bad.mended ?? bad;
    worker.update(pods.pod(container, {}, spec));
    worker.poke('volumes');
    await until(() => pods.last()?.ready === true, 'healed');
  });

  it('that cannot even be named is no pod', () => {
    for (const content of [
      null,
      {},
      { metadata: { name: 'p', uid: '../u' }, spec: { containers: [{ name: 'c' }] } },
      { metadata: { name: 'p', uid: 'u' }, spec: { containers: [], volumes: 'none' } },
      { metadata: { name: 'p', uid: 'u' }, spec: { containers: [{}] } },
    ])
      expect(readPod(content)).toHaveProperty('faults');
  });

  it('is what a newer API made of it only where it matters: fields that are not known change nothing', async () => {
    work({ container: { newField: { deep: [1] } }, spec: { anotherField: true } });
    await until(() => bench.pods.last()?.ready === true, 'ready');
  });
});
