/**
 * DeviceController: Devices and their models down to the edges that have them, reported values and states up into
 * DeviceStatus. This file connects the bus to the two halves, downstream.ts and upstream.ts.
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
import { source } from '#protocol/names.ts';
import { neededTypes } from './desired.ts';
import { DeviceStatusStore } from './device-status-store.ts';
import { Downstream } from './downstream.ts';
import { Reports } from './reports.ts';
import { Upstream } from './upstream.ts';

export interface DeviceControllerComponents {
  readonly bus: Bus;
  readonly api: KubeApi;
  /** Run by the composition root, shared with the other controllers. */
  readonly cache: ObjectCache;
  readonly ledger: DeliveryLedger;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const name = source.deviceController;
const retry = { firstMs: 200, maxMs: 30_000 };

/** One lane a node: a report never overtakes an earlier one. */
export const deviceControllerInbox: InboxOptions = {
  capacity: inboxLimits.deviceController,
  lanesMax: 256,
  keyOf: nodeKeyOf,
};

export function createDeviceController(
  _options: Readonly<Record<string, never>>,
  { bus, api, cache, ledger, clock, random, log: parentLog }: DeviceControllerComponents,
): Module {
  const log = parentLog.child({ module: name });
  const sender = new Sender(bus);
  const parts = { clock, random, log };
  const downstream = new Downstream({
    cache,
    ledger,
    sender,
    clock,
    queue: new WorkQueue({ name: 'devices', workersMax: 64, retry }, parts),
  });
  const reports = new Reports({
    cache,
    clock,
    store: new DeviceStatusStore({ api, log }),
    queue: new WorkQueue({ name: 'devicestatuses', workersMax: 16, retry }, parts),
  });

  const upstream = new Upstream({ cache, sender, downstream, reports, log });

  const handle = async (envelope: Envelope): Promise<void> => {
    const news = readSessionNews(envelope);
    if (news?.news === 'connected') downstream.connected(news.node, news.session);
    else if (news?.news === 'disconnected') downstream.disconnected(news.node);
    else await upstream.handle(envelope);
  };

  return {
    name,
    async run(signal, ready) {
      const working = Promise.all([downstream.run(signal), reports.run(signal)]);
      ready();
      // From an empty cache every report would look like one of an unknown device, and be lost.
      await cache.whenSynced(signal, neededTypes);
      const serving = bus.serve(name, handle, signal);
      await Promise.all([working, serving]);
    },
  };
}
