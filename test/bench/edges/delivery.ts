/**
 * Pods created at an even pace with their node already named, and when each arrived: at its edge, or, as the floor
 * that no cloud can get below, at a bare watch of the API.
 */

import { isNotFound, type KubeApi, type ObjectRef } from '#cloudcore/kube/kube-api.ts';
import { pause } from '../processes.ts';

export interface Creation {
  /** Name → milliseconds since the epoch at which its creation was asked for. */
  readonly askedMs: ReadonlyMap<string, number>;
  /** How long the API took to answer each. */
  readonly answersMs: readonly number[];
  /** From the first request to the last answer. */
  readonly seconds: number;
}

const pods = { apiVersion: 'v1', plural: 'pods', namespace: 'default' };

/** Creates `names` over `seconds`, one node after another. */
export async function createPods(
  api: KubeApi,
  names: readonly string[],
  nodes: readonly string[],
  seconds: number,
): Promise<Creation> {
  const askedMs = new Map<string, number>();
  const answersMs: number[] = [];
  const startedMs = performance.now();
  const creations: Promise<void>[] = [];
  for (const [at, name] of names.entries()) {
    const dueMs = startedMs + (seconds * 1000 * at) / names.length;
    if (dueMs > performance.now() + 1) await pause(dueMs - performance.now());
    const node = nodes[at % nodes.length] ?? '';
    creations.push(
      (async () => {
        const beginMs = performance.now();
        askedMs.set(name, performance.timeOrigin + beginMs);
        await api.create(pods, podOf(name, node));
        answersMs.push(performance.now() - beginMs);
      })(),
    );
  }
  await Promise.all(creations);
  return { askedMs, answersMs, seconds: (performance.now() - startedMs) / 1000 };
}

/** A watch of the API with nothing behind it. */
export class BareWatch {
  readonly arrivals = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;

  constructor(api: KubeApi, resourceVersion: string) {
    this.#watching = this.#run(api, resourceVersion);
  }

  async #run(api: KubeApi, resourceVersion: string): Promise<void> {
    const options = { resourceVersion, fieldSelector: 'spec.nodeName!=', signal: this.#stop.signal };
    try {
      for await (const { type, object } of api.watch({ apiVersion: 'v1', plural: 'pods' }, options)) {
        if (type === 'ADDED')
          this.arrivals.set(object.metadata.name, performance.timeOrigin + performance.now());
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#watching;
  }
}

/** The version from which a watch sees all that is created from now on. */
export async function currentVersion(api: KubeApi): Promise<string> {
  return (await api.list({ apiVersion: 'v1', plural: 'pods' }, { limit: 1 })).resourceVersion;
}

/** Milliseconds from the request to the arrival, of those that have arrived. */
export function delaysMs(
  askedMs: ReadonlyMap<string, number>,
  arrivals: ReadonlyMap<string, number>,
): number[] {
  return [...askedMs].flatMap(([name, asked]) => {
    const arrived = arrivals.get(name);
    return arrived === undefined ? [] : [arrived - asked];
  });
}

export async function removeAll(api: KubeApi, refs: readonly ObjectRef[]): Promise<void> {
  const left = refs.values();
  const lane = async () => {
    for (const ref of left) {
      try {
        await api.delete(ref, { gracePeriodSeconds: 0 });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
}

export const podRef = (name: string): ObjectRef => ({ ...pods, name });
export const nodeRef = (name: string): ObjectRef => ({ apiVersion: 'v1', plural: 'nodes', name });

function podOf(name: string, node: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app: 'bench' } },
    spec: {
      nodeName: node,
      containers: [
        {
          name: 'main',
          image: 'nginx:1.25',
          env: [{ name: 'GREETING', value: 'hello' }],
          resources: { requests: { cpu: '10m', memory: '16Mi' } },
        },
      ],
    },
  };
}
