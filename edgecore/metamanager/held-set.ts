/**
 * What the edge says of itself at each connect to a cloud of ours, and what it learns there: the objects it
 * holds go up, the epoch of the cloud's API comes back. Another epoch than the stored one means another
 * cluster, or one restored from a backup: nothing is thrown away for it, an operator decides.
 */

import { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import { newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import {
  type Held,
  type HeldAnswer,
  heldAnswerSchema,
  heldResource,
  unknownEpoch,
} from '#protocol/session.ts';
import type { MetaStore } from '../store/meta-store.ts';
import type { SessionStore } from '../store/session-store.ts';
import type { CloudCalls } from './cloud-calls.ts';

export interface HeldSetComponents {
  readonly meta: MetaStore;
  /** What rules asked of this edge. */
  readonly rules: () => { readonly topics: string[]; readonly urls: string[] };
  readonly session: SessionStore;
  readonly cloud: CloudCalls;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const retry = { firstMs: 1_000, maxMs: 30_000, jitter: 0.5 };
/** Only after a loss: reading what is held costs milliseconds. */
const refill = { lookEveryMs: 1_000, askAgainMs: 60_000 };

/** Tells until the cloud has taken it, or the signal of this connection is aborted. @throws CancelledError */
export async function tellHeldSet(components: HeldSetComponents, signal: AbortSignal): Promise<void> {
  const { meta, rules, session, cloud, clock, random, log } = components;
  const backoff = new Backoff(retry, random);
  while (!signal.aborted) {
    const objects = meta.read((rows) => rows.held());
    const content: Held = { epoch: epochOf(objects, session), objects, ...rules() };
    const route = { source: source.metaManager, group: group.session, operation: operation.update };
    const said = await cloud.ask(newEnvelope({ ...route, resource: heldResource }, content));
    if (signal.aborted) return;
    const answer = 'answer' in said ? heldAnswerSchema.safeParse(said.answer.content).data : undefined;
    if (answer !== undefined) {
      log.info({ objects: content.objects.length }, 'told the cloud what is held here');
      await settleEpoch(content.epoch, answer, components);
      if (await isRefilled(answer, components, signal)) return;
      continue;
    }
    const reason = 'failure' in said ? said.failure : 'its answer names no epoch';
    log.warn({ reason }, 'the cloud did not take what is held here');
    await clock.sleep(backoff.nextMs(), signal);
  }
}

/**
 * True at once for a store that nothing was lost of; else when every pod that the cloud named is here again. False
 * when they do not come: one may have been deleted meanwhile, so the cloud is asked anew.
 */
async function isRefilled(
  { epoch, pods }: HeldAnswer,
  { meta, session, clock, log }: HeldSetComponents,
  signal: AbortSignal,
): Promise<boolean> {
  if (session.isWhole() || pods === undefined || session.epoch() !== epoch) return true;
  const untilMs = clock.monotonicMs() + refill.askAgainMs;
  while (clock.monotonicMs() < untilMs) {
    const held = new Set(meta.read((rows) => rows.held()).map(({ uid }) => uid));
    if (pods.every((uid) => held.has(uid))) {
      await session.becameWhole();
      log.info({ pods: pods.length }, 'the store that was lost is filled again');
      return true;
    }
    await clock.sleep(refill.lookEveryMs, signal);
  }
  return false;
}

/** Objects without an epoch were sent by a KubeEdge cloud: of which cluster, the cloud has to find out. */
function epochOf(objects: Held['objects'], session: SessionStore): string | null {
  return session.epoch() ?? (objects.length === 0 ? null : unknownEpoch);
}

async function settleEpoch(
  own: string | null,
  { epoch, accepted }: HeldAnswer,
  { session, log }: HeldSetComponents,
): Promise<void> {
  if (own === epoch) return;
  if (own === null) return await session.adoptEpoch(epoch);
  if (own === accepted) {
    log.warn({ own, cloud: epoch }, 'this edge belongs to the cluster of this cloud now');
    return await session.adoptEpoch(epoch);
  }
  log.error(
    { own, cloud: epoch },
    'this cloud has another API than the one whose objects are stored here: nothing is deleted for it. If the move is meant, confirm it on the Node as its events say; if not, check which cloud this edge dials',
  );
}
