/**
 * The node's lease at a KubeEdge cloud: the heartbeat that keeps it Ready. Looked up once, then renewed with the version
 * it came with. A cloud of ours renews it itself, on the link's beat.
 */

import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { operation } from '#protocol/names.ts';
import type { CloudRequests } from '../cloud-requests.ts';

const leaseSchema = z.looseObject({
  metadata: z.looseObject({ name: z.string(), resourceVersion: z.string().optional() }),
  spec: z.looseObject({}).nullish(),
});
type Lease = z.infer<typeof leaseSchema>;

export interface LeaseOptions {
  readonly nodeName: string;
  readonly durationSeconds: number;
}

export class LeaseKeeper {
  readonly #options: LeaseOptions;
  readonly #cloud: CloudRequests;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #nodeUid: () => string | undefined;
  #held: Lease | undefined;
  #cloudRenews = false;
  #wake: () => void = () => {};

  /** The lease waits for `nodeUid`: it names the Node as its owner. */
  constructor(
    options: LeaseOptions,
    components: { cloud: CloudRequests; clock: Clock; log: Log; nodeUid: () => string | undefined },
  ) {
    this.#options = options;
    this.#cloud = components.cloud;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#nodeUid = components.nodeUid;
  }

  /** The link is back. */
  connected(cloudRenews: boolean): void {
    this.#cloudRenews = cloudRenews;
    this.poke();
  }

  /** Renew now: the Node was just made. */
  poke(): void {
    this.#wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    const everyMs = (this.#options.durationSeconds * 1000) / 4;
    while (!signal.aborted) {
      const done = new AbortController();
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      try {
        await this.renew(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#log.error({ err: error }, 'cannot renew the lease');
      }
      const either = AbortSignal.any([signal, done.signal]);
      await Promise.race([woken, this.#clock.sleep(everyMs, either).catch(() => {})]);
      done.abort();
    }
  }

  /** One beat; a conflict or a lost lease is mended at once, silence waits for the next beat. */
  async renew(signal: AbortSignal): Promise<boolean> {
    const uid = this.#nodeUid();
    if (uid === undefined || this.#cloudRenews) return false;
    for (let tries = 0; tries < 3; tries += 1) {
      const answer = await this.#step(uid, signal);
      if (answer === 'done') return true;
      if (answer === 'later') return false;
    }
    return false;
  }

  async #step(uid: string, signal: AbortSignal): Promise<'done' | 'again' | 'later'> {
    const { nodeName } = this.#options;
    const resource = `kube-node-lease/lease/${nodeName}`;
    if (this.#held === undefined) {
      const found = await this.#cloud.ask(operation.query, resource, null, signal);
      if (found.kind === 'unanswered') return 'later';
      const lease = found.kind === 'object' ? leaseSchema.safeParse(found.object) : undefined;
      if (lease?.success) this.#held = lease.data;
      else if (found.kind !== 'refused' || found.reason !== 'NotFound') return 'later';
    }
    const verb = this.#held === undefined ? operation.insert : operation.update;
    const answer = await this.#cloud.ask(verb, resource, this.#lease(uid), signal);
    if (answer.kind === 'unanswered') return 'later';
    const renewed = answer.kind === 'object' ? leaseSchema.safeParse(answer.object) : undefined;
    this.#held = renewed?.success ? renewed.data : undefined;
    if (renewed?.success) return 'done';
    if (answer.kind === 'refused')
      this.#log.debug({ reason: answer.reason, said: answer.message }, 'lease refused');
    return 'again';
  }

  #lease(uid: string): unknown {
    const { nodeName, durationSeconds } = this.#options;
    const renewTime = new Date(this.#clock.now()).toISOString().replace('Z', '000Z');
    const spec = {
      ...this.#held?.spec,
      holderIdentity: nodeName,
      leaseDurationSeconds: durationSeconds,
      renewTime,
    };
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid }];
    const metadata = {
      ...this.#held?.metadata,
      name: nodeName,
      namespace: 'kube-node-lease',
      ownerReferences,
    };
    return { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec };
  }
}
