/** Pods of one namespace, as a test makes them, waits for them and reads them through the API. */

import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { isNotFound } from '#cloudcore/kube/kube-api.ts';
import { type Pod, podSchema } from '#protocol/resources/pod.ts';
import { criImage } from '../containers/runtime.ts';
import { eventually } from './workspace.ts';

const waitMs = 60_000;

export class TestPods {
  readonly api: KubeApi;
  readonly collection;

  constructor(api: KubeApi, namespace = 'default') {
    this.api = api;
    this.collection = { apiVersion: 'v1', plural: 'pods', namespace };
  }

  ref(name: string) {
    return { ...this.collection, name };
  }

  /** One container from the test's image, unless `spec` has its own. */
  async create(node: string, name: string, container: object = {}, spec: object = {}): Promise<Pod> {
    const containers = [{ name: 'main', image: criImage, ...container }];
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: this.collection.namespace },
      spec: { nodeName: node, terminationGracePeriodSeconds: 1, containers, ...spec },
    };
    return podSchema.parse(await this.api.create(this.collection, pod));
  }

  async get(name: string): Promise<Pod> {
    return podSchema.parse(await this.api.get(this.ref(name)));
  }

  async list(): Promise<readonly Pod[]> {
    return (await this.api.list(this.collection)).items.map((it) => podSchema.parse(it));
  }

  until(name: string, what: string, holds: (pod: Pod) => boolean | undefined): Promise<Pod> {
    return eventually(`${name} ${what}`, waitMs, async () => {
      const pod = await this.get(name);
      return holds(pod) ? pod : undefined;
    });
  }

  ready(name: string): Promise<Pod> {
    return this.until(name, 'Ready', isReady);
  }

  async allReady(names: readonly string[]): Promise<void> {
    await eventually(`all of ${names.length} Ready`, 2 * waitMs, async () => {
      const pods = await this.list();
      const ready = new Set(pods.filter(isReady).map((it) => it.metadata.name));
      return names.every((name) => ready.has(name)) ? true : undefined;
    });
  }

  delete(name: string, gracePeriodSeconds?: number): Promise<void> {
    return this.api.delete(this.ref(name), { gracePeriodSeconds });
  }

  gone(...names: readonly string[]): Promise<true> {
    return eventually(`${names.join(', ')} gone`, 2 * waitMs, async () => {
      const left = new Set((await this.list()).map((it) => it.metadata.name));
      return names.some((name) => left.has(name)) ? undefined : true;
    });
  }

  async remove(name: string, gracePeriodSeconds?: number): Promise<void> {
    try {
      await this.delete(name, gracePeriodSeconds);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    await this.gone(name);
  }

  /** Everything that was said about them, as text. */
  async events(): Promise<string> {
    const { namespace } = this.collection;
    return JSON.stringify(await this.api.list({ apiVersion: 'v1', plural: 'events', namespace }));
  }
}

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

export function restartsOf(pod: Pod): number {
  return pod.status?.containerStatuses?.[0]?.restartCount ?? 0;
}
