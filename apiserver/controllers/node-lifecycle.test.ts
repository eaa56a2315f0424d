import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { type Api, resource } from '../api.ts';
import { builtInResources } from '../builtin-resources.ts';
import { type KubeObject, objectsAt } from '../kube-object.ts';
import { Registry } from '../registry.ts';
import { Reader } from '../service/reader.ts';
import { Resources } from '../service/resources.ts';
import { Writer } from '../service/writer.ts';
import { LogStore } from '../store/log-store.ts';
import { readiness } from './node-health.ts';
import { createNodeLifecycle } from './node-lifecycle.ts';
import { seed } from './seeds.ts';

let directory: string;
let clock: ManualClock;
let store: LogStore;
let api: Api;
let stop: AbortController;
let running: Promise<void>;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'node-lifecycle-'));
  clock = new ManualClock();
  store = new LogStore(join(directory, 'state.db'), clock);
  const reader = new Reader(store);
  const writer = new Writer({ store, clock, random: seededRandom(1) });
  api = new Resources('test', { registry: new Registry(builtInResources), reader, writer });
  await seed(api);
  await api.create(resource.nodes, node);
  await api.create(resource.pods, pod);
  stop = new AbortController();
  running = createNodeLifecycle({ api, clock, log: silentLog }).run(stop.signal);
  await seconds(1);
});

afterEach(async () => {
  stop.abort();
  await running;
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

const node: KubeObject = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'edge' },
  status: { conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: '2026-01-01T00:00:00Z' }] },
};

const pod: KubeObject = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default' },
  spec: { nodeName: 'edge', containers: [{ name: 'c', image: 'i' }] },
};

const nodeAt = { ...resource.nodes, namespace: undefined, name: 'edge' };
const podAt = { ...resource.pods, namespace: 'default', name: 'web' };

/** Moves time on second by second, so that each round's writes are done before the next. */
async function seconds(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    await clock.advance(1_000);
    for (let turn = 0; turn < 6; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
}

const taints = () =>
  objectsAt(api.get(nodeAt), 'spec', 'taints').map(({ key, effect }) => `${String(key)}:${String(effect)}`);
const ready = () => {
  const found = api.get(nodeAt);
  return found === undefined ? undefined : readiness(found);
};

async function renewLease(): Promise<void> {
  const at = { ...resource.leases, namespace: 'kube-node-lease', name: 'edge' };
  const spec = { renewTime: new Date(clock.now()).toISOString() };
  if (api.get(at) !== undefined) await api.patch(at, { spec });
  else
    await api.create(resource.leases, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'edge', namespace: at.namespace },
      spec,
    });
}

async function report(status: string): Promise<void> {
  await api.patch(
    nodeAt,
    {
      status: {
        conditions: [{ type: 'Ready', status, lastHeartbeatTime: new Date(clock.now()).toISOString() }],
      },
    },
    'status',
  );
}

describe('a node', () => {
  test('is Unknown and tainted after 40 s of silence, and back when it speaks', async () => {
    await seconds(39);
    expect([ready(), taints()]).toEqual(['True', []]);
    await seconds(3);
    expect(ready()).toBe('Unknown');
    expect(taints()).toEqual([
      'node.kubernetes.io/unreachable:NoSchedule',
      'node.kubernetes.io/unreachable:NoExecute',
    ]);
    await report('True');
    await seconds(2);
    expect([ready(), taints()]).toEqual(['True', []]);
  });

  test('stays Ready while it renews its lease', async () => {
    for (let i = 0; i < 12; i += 1) {
      await renewLease();
      await seconds(10);
    }
    expect(ready()).toBe('True');
  });

  test('that says it is not ready is tainted at once', async () => {
    await report('False');
    await seconds(1);
    expect(taints()).toEqual([
      'node.kubernetes.io/not-ready:NoSchedule',
      'node.kubernetes.io/not-ready:NoExecute',
    ]);
  });

  test('that is cordoned is tainted, other taints stay', async () => {
    await api.patch(nodeAt, {
      spec: { unschedulable: true, taints: [{ key: 'own', effect: 'NoSchedule' }] },
    });
    await seconds(1);
    expect(taints()).toEqual(['own:NoSchedule', 'node.kubernetes.io/unschedulable:NoSchedule']);
  });
});

describe('a pod', () => {
  test('leaves a silent node when its toleration ends', async () => {
    await seconds(42);
    expect(ready()).toBe('Unknown');
    await seconds(295);
    expect(api.get(podAt)?.metadata.deletionTimestamp).toBeUndefined();
    await seconds(10);
    expect(api.get(podAt)?.metadata.deletionTimestamp).toBeDefined();
  });

  test('of a node that is gone goes too, after the grace time', async () => {
    await api.delete(nodeAt);
    await seconds(38);
    expect(api.get(podAt)).toBeDefined();
    await seconds(5);
    expect(api.get(podAt)).toBeUndefined();
  });
});
