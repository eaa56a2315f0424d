/**
 * Watches over nodes: one whose lease and status were not renewed for 40 s is Unknown and tainted; pods leave it when
 * their tolerations end; pods of a node that no longer exists go. Silence is measured by our own clock.
 */

import { resource } from '../api.ts';
import { type KubeObject, objectsAt, textAt } from '../kube-object.ts';
import { timeText } from '../service/write-context.ts';
import { isNotFound } from '../status-error.ts';
import { attempt, type Controller, type ControllerComponents, every, follow } from './controller.ts';
import { record } from './event-recorder.ts';
import { asSilent, asUnready, readiness, withTaints } from './node-health.ts';
import { evictionTimeMs } from './tolerations.ts';

const component = 'node-controller';
export const graceMs = 40_000;
const roundMs = 1_000;
const leaseNamespace = 'kube-node-lease';

interface Beat {
  readonly seen: string;
  readonly atMs: number;
}

export function createNodeLifecycle(components: ControllerComponents): Controller {
  const watcher = new NodeWatcher(components);
  return {
    name: 'node-lifecycle',
    async run(signal) {
      await Promise.all([
        follow(components, resource.nodes, { signal }, async ({ type, object }) => {
          if (type !== 'DELETED') await watcher.taint(object.metadata.name);
        }),
        every(components, roundMs, signal, () => watcher.round()),
      ]);
    },
  };
}

class NodeWatcher {
  readonly #components: ControllerComponents;
  readonly #beats = new Map<string, Beat>();
  readonly #missingSinceMs = new Map<string, number>();

  constructor(components: ControllerComponents) {
    this.#components = components;
  }

  async round(): Promise<void> {
    const { api, clock, log } = this.#components;
    const nodes = api.list(resource.nodes).items;
    const names = new Set(nodes.map(({ metadata }) => metadata.name));
    for (const name of this.#beats.keys()) if (!names.has(name)) this.#beats.delete(name);
    for (const node of nodes) {
      const { name } = node.metadata;
      const silentMs = clock.now() - this.#lastBeatMs(node);
      await attempt(log, `node ${name}`, async () => {
        if (silentMs > graceMs) await this.#markSilent(node);
        await this.taint(name);
      });
    }
    for (const pod of api.list(resource.pods, { fieldSelector: 'spec.nodeName!=' }).items) {
      await attempt(log, `pod ${pod.metadata.name}`, () => this.#judge(pod));
    }
    const inUse = new Set(api.list(resource.pods).items.map((pod) => textAt(pod, 'spec', 'nodeName')));
    for (const name of this.#missingSinceMs.keys()) {
      if (names.has(name) || !inUse.has(name)) this.#missingSinceMs.delete(name);
    }
  }

  async taint(name: string): Promise<void> {
    const { api, clock } = this.#components;
    const node = this.#node(name);
    const tainted = node === undefined ? undefined : withTaints(node, timeText(clock.now()));
    if (tainted !== undefined) await api.update(resource.nodes, tainted);
  }

  /** When the lease or the status of the node last changed, as far as this process saw. */
  #lastBeatMs(node: KubeObject): number {
    const { api, clock } = this.#components;
    const { name, uid = '' } = node.metadata;
    const lease = api.get({ ...resource.leases, namespace: leaseNamespace, name });
    const heartbeats = objectsAt(node, 'status', 'conditions').map(
      ({ lastHeartbeatTime }) => lastHeartbeatTime,
    );
    const seen = [uid, textAt(lease, 'spec', 'renewTime'), ...heartbeats].join(' ');
    const known = this.#beats.get(name);
    if (known?.seen === seen) return known.atMs;
    const atMs = clock.now();
    this.#beats.set(name, { seen, atMs });
    return atMs;
  }

  async #markSilent(node: KubeObject): Promise<void> {
    const { api, clock } = this.#components;
    const marked = asSilent(node, timeText(clock.now()));
    if (marked === undefined) return;
    await api.update(resource.nodes, marked, 'status');
    const message = `Node ${node.metadata.name} status is now: NodeNotReady`;
    await record({ api, clock, component }, { about: node, type: 'Normal', reason: 'NodeNotReady', message });
  }

  async #judge(pod: KubeObject): Promise<void> {
    const { api, clock } = this.#components;
    const name = textAt(pod, 'spec', 'nodeName') ?? '';
    const node = this.#node(name);
    const now = clock.now();
    if (node === undefined) return this.#judgeHomeless(pod, name, now);
    if (readiness(node) !== 'True') {
      const unready = asUnready(pod, timeText(now));
      if (unready !== undefined) await api.update(resource.pods, unready, 'status');
    }
    if (pod.metadata.deletionTimestamp !== undefined) return;
    const due = evictionTimeMs(pod, node, now);
    if (due === undefined || due > now) return;
    const message = `Marking for deletion Pod ${pod.metadata.namespace ?? ''}/${pod.metadata.name}`;
    await record(
      { api, clock, component },
      { about: pod, type: 'Normal', reason: 'TaintManagerEviction', message },
    );
    await this.#delete(pod);
  }

  /** A node that comes back within the grace time finds its pods again. */
  async #judgeHomeless(pod: KubeObject, node: string, now: number): Promise<void> {
    const since = this.#missingSinceMs.get(node) ?? now;
    this.#missingSinceMs.set(node, since);
    if (now - since >= graceMs) await this.#delete(pod, 0);
  }

  async #delete(
    { metadata: { namespace, name, uid } }: KubeObject,
    gracePeriodSeconds?: number,
  ): Promise<void> {
    try {
      await this.#components.api.delete(
        { ...resource.pods, namespace, name },
        { preconditions: { uid }, gracePeriodSeconds },
      );
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  #node(name: string): KubeObject | undefined {
    return this.#components.api.get({ ...resource.nodes, namespace: undefined, name });
  }
}
