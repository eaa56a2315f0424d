import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { type Api, type ResourceRef, resource } from '../api.ts';
import { builtInResources } from '../builtin-resources.ts';
import { type JsonObject, type KubeObject, textAt, valueAt } from '../kube-object.ts';
import { Registry } from '../registry.ts';
import { Reader } from '../service/reader.ts';
import { Resources } from '../service/resources.ts';
import { Writer } from '../service/writer.ts';
import { LogStore } from '../store/log-store.ts';
import type { Controller, ControllerComponents } from './controller.ts';
import { createDaemonSetController, daemonSets } from './daemonset.ts';
import { createDeploymentController } from './deployment.ts';
import { isOwnedBy, readySince } from './owned.ts';
import { createReplicaSetController } from './replicaset.ts';

let directory: string;
let store: LogStore;
let api: Api;
let stop: AbortController;
const running: Promise<void>[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'hawser-workloads-'));
  store = new LogStore(join(directory, 'state.db'), systemClock);
  const registry = new Registry(builtInResources);
  const writer = new Writer({ store, clock: systemClock, random: seededRandom(1) });
  api = new Resources('test', { registry, reader: new Reader(store), writer });
  stop = new AbortController();
  await api.create(resource.namespaces, {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'default' },
  });
});

afterEach(async () => {
  stop.abort();
  await Promise.allSettled(running.splice(0));
  store.close();
  rmSync(directory, { recursive: true });
});

function run(...create: ((components: ControllerComponents) => Controller)[]): void {
  const components = { api, clock: systemClock, log: silentLog };
  for (const each of create) running.push(each(components).run(stop.signal));
}

/** Resolves once the condition holds, looking again whenever the resource changes. */
async function until(of: ResourceRef, holds: () => boolean): Promise<void> {
  for await (const _ of api.watch(of, { signal: stop.signal })) if (holds()) return;
}

/** Reports every pod Ready, but those of images called `broken`. */
function readyEverything(): void {
  const report = async () => {
    for await (const { object, type } of api.watch(resource.pods, { signal: stop.signal })) {
      if (type === 'DELETED' || readySince(object) !== undefined || imageOf(object) === 'broken') continue;
      const { name, namespace } = object.metadata;
      const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: '2020-01-01T00:00:00Z' }];
      await api.patch(
        { ...resource.pods, namespace, name },
        { status: { phase: 'Running', conditions } },
        'status',
      );
    }
  };
  running.push(report());
}

function imageOf(pod: KubeObject): string | undefined {
  return textAt((valueAt(pod, 'spec', 'containers') as JsonObject[])[0], 'image');
}

const pods = (image?: string) =>
  api.list(resource.pods).items.filter((pod) => image === undefined || imageOf(pod) === image);

function workload(kind: string, image: string, more: JsonObject = {}): KubeObject {
  const labels = { app: 'web' };
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'c', image }] } },
      ...more,
    },
  };
}

const web = { namespace: 'default', name: 'web' };

describe('ReplicaSets', () => {
  it('have as many pods as are wanted, and say so', async () => {
    run(createReplicaSetController);
    readyEverything();
    const set = await api.create(resource.replicaSets, workload('ReplicaSet', 'one', { replicas: 3 }));
    const at = { ...resource.replicaSets, ...web };
    await until(resource.replicaSets, () => valueAt(api.get(at), 'status', 'availableReplicas') === 3);
    expect(pods().every((pod) => isOwnedBy(pod, set) && pod.metadata.labels?.app === 'web')).toBe(true);
    await api.patch(at, { spec: { replicas: 1 } });
    await until(resource.replicaSets, () => valueAt(api.get(at), 'status', 'replicas') === 1);
    expect(pods()).toHaveLength(1);
  });

  it('replace a pod that is deleted or has failed', async () => {
    run(createReplicaSetController);
    await api.create(resource.replicaSets, workload('ReplicaSet', 'one', { replicas: 1 }));
    await until(resource.pods, () => pods().length === 1);
    const first = pods()[0]?.metadata.name ?? '';
    await api.delete({ ...resource.pods, namespace: 'default', name: first });
    await until(resource.pods, () => pods().length === 1 && pods()[0]?.metadata.name !== first);
    const second = pods()[0]?.metadata.name ?? '';
    await api.patch(
      { ...resource.pods, namespace: 'default', name: second },
      { status: { phase: 'Failed' } },
      'status',
    );
    await until(resource.pods, () => pods().length === 2);
  });
});

describe('Deployments', () => {
  const at = { ...resource.deployments, ...web };

  it('roll out a new template and keep the old one as a revision', async () => {
    run(createReplicaSetController, createDeploymentController);
    readyEverything();
    await api.create(resource.deployments, workload('Deployment', 'one', { replicas: 4 }));
    await until(resource.deployments, () => valueAt(api.get(at), 'status', 'availableReplicas') === 4);
    const template = { spec: { containers: [{ name: 'c', image: 'two' }] } };
    await api.patch(at, { spec: { template } });
    await until(resource.deployments, () => {
      const status = valueAt(api.get(at), 'status');
      return (
        valueAt(status, 'updatedReplicas') === 4 &&
        valueAt(status, 'replicas') === 4 &&
        pods('two').length === 4
      );
    });
    await until(resource.deployments, () => valueAt(api.get(at), 'status', 'availableReplicas') === 4);
    expect(pods('one')).toHaveLength(0);
    expect(api.get(at)?.metadata.annotations).toMatchObject({ 'deployment.kubernetes.io/revision': '2' });
    expect(api.list(resource.replicaSets).items).toHaveLength(2);
  });

  it('keep enough old pods while the new ones do not work', async () => {
    run(createReplicaSetController, createDeploymentController);
    readyEverything();
    await api.create(resource.deployments, workload('Deployment', 'one', { replicas: 4 }));
    await until(resource.deployments, () => valueAt(api.get(at), 'status', 'availableReplicas') === 4);
    await api.patch(at, { spec: { template: { spec: { containers: [{ name: 'c', image: 'broken' }] } } } });
    await until(resource.pods, () => pods('broken').length === 2);
    expect(pods('one')).toHaveLength(3);
  });
});

describe('DaemonSets', () => {
  const node = (name: string, more: JsonObject = {}, labels: Record<string, string> = {}): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels },
    ...more,
  });
  const nodesOf = () =>
    pods()
      .map((pod) => textAt(pod, 'spec', 'nodeName'))
      .sort();

  it('run one pod on each node that fits', async () => {
    run(createDaemonSetController);
    await api.create(resource.nodes, node('a'));
    await api.create(resource.nodes, node('b', { spec: { unschedulable: true } }));
    await api.create(
      resource.nodes,
      node('tainted', { spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] } }),
    );
    await api.create(daemonSets, workload('DaemonSet', 'one'));
    await until(resource.pods, () => pods().length === 2);
    expect(nodesOf()).toEqual(['a', 'b']);
    await api.create(resource.nodes, node('c'));
    await until(resource.pods, () => pods().length === 3);
    await until(
      daemonSets,
      () => valueAt(api.get({ ...daemonSets, ...web }), 'status', 'desiredNumberScheduled') === 3,
    );
  });

  it('leave a node that is tainted NoExecute, and stay on one tainted NoSchedule', async () => {
    run(createDaemonSetController);
    await api.create(resource.nodes, node('a'));
    await api.create(resource.nodes, node('b'));
    await api.create(daemonSets, workload('DaemonSet', 'one'));
    await until(resource.pods, () => pods().length === 2);
    const taint = (name: string, effect: string) =>
      api.patch(
        { ...resource.nodes, namespace: undefined, name },
        { spec: { taints: [{ key: 'k', effect }] } },
      );
    await taint('a', 'NoSchedule');
    await taint('b', 'NoExecute');
    const leaving = () => pods().filter(({ metadata }) => metadata.deletionTimestamp !== undefined);
    await until(resource.pods, () => leaving().length === 1 || pods().length === 1);
    const staying = pods().filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    expect(staying.map((pod) => textAt(pod, 'spec', 'nodeName'))).toEqual(['a']);
  });

  it('replace their pods when the template changes', async () => {
    run(createDaemonSetController);
    readyEverything();
    await api.create(resource.nodes, node('a'));
    await api.create(daemonSets, workload('DaemonSet', 'one'));
    const at = { ...daemonSets, ...web };
    await until(daemonSets, () => valueAt(api.get(at), 'status', 'numberAvailable') === 1);
    await api.patch(at, { spec: { template: { spec: { containers: [{ name: 'c', image: 'two' }] } } } });
    await until(resource.pods, () => pods('one')[0]?.metadata.deletionTimestamp !== undefined);
    const { name = '', namespace } = pods('one')[0]?.metadata ?? {};
    await api.delete({ ...resource.pods, namespace, name }, { gracePeriodSeconds: 0 });
    await until(resource.pods, () => pods('two').length === 1 && pods('one').length === 0);
    await until(daemonSets, () => valueAt(api.get(at), 'status', 'numberAvailable') === 1);
    expect(valueAt(api.get(at), 'status', 'updatedNumberScheduled')).toBe(1);
  });
});
