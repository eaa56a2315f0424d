/**
 * EdgeController: pods, configMaps, secrets and Nodes down to the edges, and what edges report and ask up to the
 * Kubernetes API. This file connects the bus to the two halves, downstream.ts and upstream.ts.
 */

import type { Bus, InboxOptions } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Module } from '#beehive/module.ts';
import type { Random } from '#beehive/random.ts';
import type { DeliveryLedger } from '#cloudcore/kube/delivery-ledger.ts';
import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { nodeKeyOf, readSessionNews } from '#cloudcore/kube/node-sessions.ts';
import type { ObjectCache } from '#cloudcore/kube/objects.ts';
import { Sender } from '#cloudcore/kube/sender.ts';
import { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import { inboxLimits } from '#protocol/limits.ts';
import type { Envelope } from '#protocol/message.ts';
import { group, source } from '#protocol/names.ts';
import { neededTypes } from './desired.ts';
import { Downstream } from './downstream.ts';
import { answerHeld } from './held-answer.ts';
import { Upstream } from './upstream.ts';
import type { ReadCertificateRequest } from './upstream-certificates.ts';

export interface EdgeControllerOptions {
  /** Whether a node is held to its own objects; on unless an operator turned it off. */
  readonly authorize?: boolean;
}

export interface EdgeControllerComponents {
  readonly bus: Bus;
  readonly api: KubeApi;
  /** Run by the composition root, shared with the other controllers. */
  readonly cache: ObjectCache;
  readonly ledger: DeliveryLedger;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** CA of the Kubernetes API in PEM, if it has one of its own. */
  readonly kubernetesCa?: string | undefined;
  readonly readCertificateRequest: ReadCertificateRequest;
}

const name = source.edgeController;

/** One lane a node: its messages stay in order, and an API call for one node holds up no other. */
export const edgeControllerInbox: InboxOptions = {
  capacity: inboxLimits.edgeController,
  lanesMax: 256,
  keyOf: nodeKeyOf,
};

export function createEdgeController(
  options: EdgeControllerOptions,
  components: EdgeControllerComponents,
): Module {
  const { bus, api, cache, ledger, clock, random, kubernetesCa, readCertificateRequest } = components;
  const log = components.log.child({ module: name });
  const sender = new Sender(bus);
  const queue = new WorkQueue(
    { name, workersMax: 64, retry: { firstMs: 200, maxMs: 30_000 } },
    { clock, random, log },
  );
  const downstream = new Downstream({ cache, ledger, sender, queue });
  const upstream = new Upstream(
    { authorize: options.authorize ?? true },
    { api, cache, sender, clock, log, downstream, kubernetesCa, readCertificateRequest },
  );

  const handle = async (envelope: Envelope): Promise<void> => {
    const news = readSessionNews(envelope);
    if (news?.news === 'connected') downstream.connected(news.node, news.session);
    else if (news?.news === 'disconnected') downstream.disconnected(news.node);
    else if (envelope.route.group === group.session)
      await answerHeld(envelope, { ...components, log, sender, downstream });
    else await upstream.handle(envelope);
  };

  return {
    name,
    async run(signal, ready) {
      const working = downstream.run(signal);
      ready();
      // Edges that connect meanwhile wait in the inbox: answering from an empty cache would refuse them all.
      await cache.whenSynced(signal, neededTypes);
      const serving = bus.serve(name, handle, signal);
      await Promise.all([working, serving]);
    },
  };
}
