/**
 * The answer to what an edge of ours says it holds: whose objects this cloud has. An edge that comes with those of
 * another cluster loses none of them before an operator has said on its Node that they may go (see epoch.ts).
 */

import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { acceptCommand, acceptedEpoch, epochOf } from '#cloudcore/kube/epoch.ts';
import { isAlreadyExists, type KubeApi, KubeError } from '#cloudcore/kube/kube-api.ts';
import type { ObjectCache } from '#cloudcore/kube/objects.ts';
import type { Sender } from '#cloudcore/kube/sender.ts';
import { sessionLimits } from '#protocol/limits.ts';
import { type Envelope, reply, replyError } from '#protocol/message.ts';
import { group, source } from '#protocol/names.ts';
import { splitNode } from '#protocol/resource-path.ts';
import { type Held, type HeldAnswer, heldSchema } from '#protocol/session.ts';

export interface HeldAnswerComponents {
  readonly api: KubeApi;
  readonly cache: Pick<ObjectCache, 'epoch' | 'get' | 'known' | 'podsOf'>;
  readonly sender: Sender;
  readonly downstream: { held(node: string, held: Held): void };
  readonly clock: Clock;
  readonly log: Log;
}

const from = { source: source.edgeController, group: group.session };

/** The answer goes first, so that the edge knows whose objects the difference is about. */
export async function answerHeld(envelope: Envelope, components: HeldAnswerComponents): Promise<void> {
  const { cache, sender, downstream, log } = components;
  const { node } = splitNode(envelope.route.resource);
  const held = boundedHeld.safeParse(envelope.content);
  const { epoch } = cache;
  if (!held.success || epoch === undefined) {
    const reason = held.success ? 'the cloud has not read its objects yet' : 'malformed list of held objects';
    log.warn({ node, reason }, 'cannot use what an edge says it holds');
    await sender.send(replyError(envelope, reason, from));
    return;
  }
  const told = held.data.epoch;
  const heldEpoch = epochOf(held.data, cache);
  const isForeign = heldEpoch !== null && heldEpoch !== epoch;
  const accepted = isForeign && acceptedEpoch(node, cache) === heldEpoch;
  const pods = [...cache.podsOf(node)].flatMap(({ metadata }) => metadata.uid ?? []);
  const belongsHere = accepted || (heldEpoch === epoch && told !== epoch);
  const answer: HeldAnswer = belongsHere && told !== null ? { epoch, accepted: told, pods } : { epoch, pods };
  await sender.send(reply(envelope, answer, from));
  downstream.held(node, held.data);
  if (accepted) log.warn({ node, held: heldEpoch }, 'an edge gives up what it holds of another cluster');
  else if (isForeign) await tellOperator(node, heldEpoch, components);
}

const boundedHeld = heldSchema.extend({
  objects: z.array(heldSchema.shape.objects.element).max(sessionLimits.heldObjectsMax),
});

async function tellOperator(
  node: string,
  epoch: string,
  { api, cache, clock, log }: HeldAnswerComponents,
): Promise<void> {
  const command = acceptCommand(node, epoch);
  const message = `The edge holds objects of another cluster (epoch ${epoch}) and keeps them. If its move to this cluster is meant, and what it runs for the other may end: ${command}`;
  log.warn({ node, held: epoch, epoch: cache.epoch, command }, message);
  const at = new Date(clock.now()).toISOString();
  const event = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: {
      name: `${node}.foreign-${epoch.replaceAll(/[^a-z0-9-]/g, '').slice(0, 36)}0`,
      namespace: 'default',
    },
    involvedObject: { apiVersion: 'v1', kind: 'Node', name: node, uid: node },
    reason: 'ForeignObjects',
    message,
    type: 'Warning',
    source: { component: source.edgeController },
    firstTimestamp: at,
    lastTimestamp: at,
    count: 1,
  };
  try {
    await api.create({ apiVersion: 'v1', plural: 'events', namespace: 'default' }, event);
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    if (!isAlreadyExists(error)) log.debug({ node, err: error }, 'cannot write an event');
  }
}
