/**
 * The Leases of the nodes whose edge is ours: its beat comes to CloudHub, and is written here as the renewal that
 * keeps the node Ready. Nothing is written without a sign of life, and `renewTime` is the time of that sign; so a
 * Lease ends with its session, and with the last sign of an edge whose link is dead and not yet closed.
 *
 * - At most one renewal a beat, and for many nodes one every other beat: see `leaseLimits`.
 * - A renewal that fails is not repeated; the next beat is soon.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { describeError } from '#protocol/errors.ts';
import { keepaliveLimits } from '#protocol/limits.ts';
import { isAlreadyExists, isNotFound, type KubeApi, KubeError } from '../kube/kube-api.ts';
import type { ObjectReader } from '../kube/object-reader.ts';
import type { CloudHubMetrics } from './cloudhub-metrics.ts';

export const leaseLimits = {
  /** Beyond it the period grows up to Kubernetes' own of 10 s: an API server spends a quarter of a core on so many. */
  renewalsPerSecondMax: 100,
  periodMaxMs: 10_000,
  /** Beats are not exactly a period apart. */
  slackMs: 1_500,
  /** More wait, one of each node. */
  atOnceMax: 16,
  durationSeconds: 40,
} as const;

export interface NodeLeasesComponents {
  readonly api: KubeApi;
  readonly reader: ObjectReader;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<CloudHubMetrics, 'leases'>;
}

interface Living {
  readonly node: string;
  readonly over: AbortSignal;
  /** Since the epoch. */
  heardMs: number;
  renewedMonotonicMs: number;
}

type Outcome = 'renewed' | 'created' | 'no-node' | 'over' | 'failed';

const leases = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases', namespace: 'kube-node-lease' };

export class NodeLeases {
  readonly #components: NodeLeasesComponents;
  #sessions = 0;
  readonly #waiting = new Set<Living>();
  readonly #running = new Set<Living>();
  #isFailing = false;

  constructor(components: NodeLeasesComponents) {
    this.#components = components;
  }

  /** A session has begun. Call the answer at each sign of life of its edge. */
  open(node: string, over: AbortSignal): () => void {
    const living = { node, over, heardMs: 0, renewedMonotonicMs: Number.NEGATIVE_INFINITY };
    this.#sessions += 1;
    over.addEventListener('abort', () => this.#close(living), { once: true });
    return () => this.#heard(living);
  }

  #close(living: Living): void {
    this.#sessions -= 1;
    this.#waiting.delete(living);
  }

  #heard(living: Living): void {
    const { clock } = this.#components;
    if (living.over.aborted) return;
    living.heardMs = clock.now();
    const dueMs = living.renewedMonotonicMs + this.#periodMs() - leaseLimits.slackMs;
    if (clock.monotonicMs() < dueMs || this.#running.has(living)) return;
    this.#waiting.add(living);
    this.#startWhatMay();
  }

  #periodMs(): number {
    const { renewalsPerSecondMax, periodMaxMs } = leaseLimits;
    const shareMs = (this.#sessions * 1000) / renewalsPerSecondMax;
    return Math.min(periodMaxMs, Math.max(keepaliveLimits.sessionPeriodMs, shareMs));
  }

  #startWhatMay(): void {
    for (const living of this.#waiting) {
      if (this.#running.size >= leaseLimits.atOnceMax) return;
      this.#waiting.delete(living);
      this.#running.add(living);
      void this.#run(living);
    }
  }

  async #run(living: Living): Promise<void> {
    const { clock, log, metrics } = this.#components;
    const startedMs = clock.monotonicMs();
    try {
      const outcome = await this.#renew(living);
      metrics.leases.inc({ outcome });
      if (outcome !== 'failed') this.#isFailing = false;
      if (outcome === 'renewed' || outcome === 'created') living.renewedMonotonicMs = startedMs;
    } catch (error) {
      log.error({ node: living.node, err: error }, 'cannot renew a lease');
    }
    this.#running.delete(living);
    this.#startWhatMay();
  }

  async #renew(living: Living): Promise<Outcome> {
    const { api, reader } = this.#components;
    const { node, over } = living;
    try {
      const uid = (await reader.read({ namespace: undefined, type: 'node', name: node }))?.metadata.uid;
      // An edge connects before it registers.
      if (uid === undefined) return 'no-node';
      if (over.aborted) return 'over';
      const lease = leaseOf(living, uid);
      try {
        await api.patch({ ...leases, name: node }, 'merge', lease, { signal: over });
        return 'renewed';
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      await api.create(leases, lease, { signal: over });
      return 'created';
    } catch (error) {
      if (over.aborted) return 'over';
      // Another cloudcore has made it in the same moment.
      if (isAlreadyExists(error)) return 'failed';
      if (!(error instanceof KubeError)) throw error;
      this.#complain(node, error);
      return 'failed';
    }
  }

  /** One line for all nodes: an API that is away is away for all of them. */
  #complain(node: string, error: KubeError): void {
    const { log } = this.#components;
    const say = this.#isFailing ? log.debug : log.warn;
    this.#isFailing = true;
    const fields = { node, reason: describeError(error) };
    say.call(log, fields, 'cannot renew the lease of a node; after 40 s without it is not Ready');
  }
}

function leaseOf({ node, heardMs }: Living, uid: string): object {
  const renewTime = new Date(heardMs).toISOString().replace('Z', '000Z');
  return {
    apiVersion: leases.apiVersion,
    kind: 'Lease',
    metadata: {
      name: node,
      namespace: leases.namespace,
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: node, uid }],
    },
    spec: { holderIdentity: node, leaseDurationSeconds: leaseLimits.durationSeconds, renewTime },
  };
}
