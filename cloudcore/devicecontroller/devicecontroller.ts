/**
 * DeviceController: Devices and their models down to the edges that have them, reported values and states up into
 * DeviceStatus. This file connects the bus to the two halves, downstream.ts and reports.ts.
 */

import type { Bus, InboxOptions } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Module } from '#beehive/module.ts';
import type { Random } from '#beehive/random.ts';
import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { nodeKeyOf, readSessionNews } from '#cloudcore/kube/node-sessions.ts';
import { deviceNodeOf, type ObjectCache } from '#cloudcore/kube/objects.ts';
import { Sender } from '#cloudcore/kube/sender.ts';
import { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import { ProtocolError } from '#protocol/errors.ts';
import { inboxLimits, sessionLimits } from '#protocol/limits.ts';
import type { Envelope } from '#protocol/message.ts';
import { source } from '#protocol/names.ts';
import { type MessageOf, openFromNode } from '#protocol/open.ts';
import type { Held } from '#protocol/session.ts';
import { DeviceStatusStore } from './device-status-store.ts';
import { Downstream } from './downstream.ts';
import { confirmation, refusal } from './messages.ts';
import { Reports } from './reports.ts';
import { emptyReport, type Report, readTwins } from './twin-status.ts';

export interface DeviceControllerComponents {
  readonly bus: Bus;
  readonly api: KubeApi;
  /** Run by the composition root, shared with the other controllers. */
  readonly cache: ObjectCache;
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
  { bus, api, cache, clock, random, log: parentLog }: DeviceControllerComponents,
): Module {
  const log = parentLog.child({ module: name });
  const sender = new Sender(bus);
  const parts = { clock, random, log };
  const downstream = new Downstream({
    cache,
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

  const handle = async (envelope: Envelope): Promise<void> => {
    const news = readSessionNews(envelope);
    if (news?.news === 'connected') return downstream.connected(news.node, news.session);
    if (news?.news === 'disconnected') return downstream.disconnected(news.node);
    const opened = await openOrRefuse(envelope);
    if (opened === undefined) return;
    const { node, message } = opened;
    switch (message.kind) {
      case 'session/update':
        return takeHeld(node, message.content);
      case 'membership-detail/get':
        await sender.send(confirmation(node, envelope.header.msg_id));
        return await downstream.sendMembership(node);
      case 'devicetwin/update':
        return await takeReport(node, message, readTwins(message.content));
      case 'devicestate/update': {
        const { state, lastOnlineTime } = message.content.device;
        return await takeReport(node, message, { ...emptyReport, state, lastOnlineTime });
      }
      default:
        log.debug({ node, route: envelope.route }, 'an edge sent what is not handled here');
    }
  };

  /** A report that cannot be read never can be: refused, or a KubeEdge edge repeats it for good. */
  const openOrRefuse = async (envelope: Envelope): Promise<ReturnType<typeof openFromNode> | undefined> => {
    try {
      return openFromNode(envelope);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const node = nodeKeyOf(envelope);
      log.warn({ node, route: envelope.route, reason: error.message }, 'an edge sent what cannot be read');
      await sender.send(refusal(node, envelope.header.msg_id, error.message));
      return undefined;
    }
  };

  const takeHeld = (node: string, held: Held): void => {
    // EdgeController refuses such a list with a reason; without it nothing would be sent.
    if (held.objects.length <= sessionLimits.heldObjectsMax) downstream.held(node, held);
  };

  const takeReport = async (
    node: string,
    { device, envelope }: Pick<MessageOf<'devicetwin/update'>, 'device' | 'envelope'>,
    report: Report,
  ): Promise<void> => {
    const id = envelope.header.msg_id;
    const object = cache.get('device', device.namespace, device.name);
    // Nobody will ever want it: confirmed, or a KubeEdge edge repeats it for good (wire 4.4).
    if (object === undefined) return await sender.send(confirmation(node, id));
    if (deviceNodeOf(object) !== node) {
      log.warn({ node, device }, 'an edge reports a device that is not its own');
      return await sender.send(
        refusal(node, id, `device ${device.namespace}/${device.name} is not of this node`),
      );
    }
    reports.add(device, report, () => sender.send(confirmation(node, id)));
  };

  return {
    name,
    async run(signal, ready) {
      const working = Promise.all([downstream.run(signal), reports.run(signal)]);
      ready();
      // From an empty cache every report would look like one of an unknown device, and be lost.
      await cache.whenSynced(signal);
      const serving = bus.serve(name, handle, signal);
      await Promise.all([working, serving]);
    },
  };
}
