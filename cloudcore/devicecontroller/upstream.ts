/**
 * What edges say about their devices (wire 4.4): reports go to reports.ts, who holds what to downstream.ts. Whoever
 * reports is answered, sooner or later, because a KubeEdge edge repeats for good what nobody answers.
 */

import type { Log } from '#beehive/log.ts';
import { nodeKeyOf } from '#cloudcore/kube/node-sessions.ts';
import { deviceNodeOf, type ObjectCache } from '#cloudcore/kube/objects.ts';
import type { Sender } from '#cloudcore/kube/sender.ts';
import { ProtocolError } from '#protocol/errors.ts';
import { sessionLimits } from '#protocol/limits.ts';
import type { Envelope } from '#protocol/message.ts';
import { type MessageOf, openFromNode } from '#protocol/open.ts';
import type { Downstream } from './downstream.ts';
import { confirmation, refusal } from './messages.ts';
import type { Reports } from './reports.ts';
import { emptyReport, type Report, readTwins } from './twin-status.ts';

export interface UpstreamComponents {
  readonly cache: Pick<ObjectCache, 'get'>;
  readonly sender: Sender;
  readonly downstream: Downstream;
  readonly reports: Reports;
  readonly log: Log;
}

export class Upstream {
  readonly #components: UpstreamComponents;

  constructor(components: UpstreamComponents) {
    this.#components = components;
  }

  async handle(envelope: Envelope): Promise<void> {
    const opened = await this.#openOrRefuse(envelope);
    if (opened === undefined) return;
    const { sender, downstream, log } = this.#components;
    const { node, message } = opened;
    switch (message.kind) {
      case 'session/update':
        // EdgeController refuses a list that is too long with a reason; without it nothing would be sent.
        if (message.content.objects.length <= sessionLimits.heldObjectsMax)
          downstream.held(node, message.content);
        return;
      case 'membership-detail/get':
        await sender.send(confirmation(node, envelope.header.msg_id));
        return await downstream.sendMembership(node);
      case 'devicetwin/update':
        return await this.#takeReport(node, message, readTwins(message.content));
      case 'devicestate/update': {
        const { state, lastOnlineTime } = message.content.device;
        return await this.#takeReport(node, message, { ...emptyReport, state, lastOnlineTime });
      }
      default:
        log.debug({ node, route: envelope.route }, 'an edge sent what is not handled here');
    }
  }

  /** What cannot be read never can be, so it is refused. */
  async #openOrRefuse(envelope: Envelope): Promise<ReturnType<typeof openFromNode> | undefined> {
    const { sender, log } = this.#components;
    try {
      return openFromNode(envelope);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const node = nodeKeyOf(envelope);
      log.warn({ node, route: envelope.route, reason: error.message }, 'an edge sent what cannot be read');
      await sender.send(refusal(node, envelope.header.msg_id, error.message));
      return undefined;
    }
  }

  async #takeReport(
    node: string,
    { device, envelope }: Pick<MessageOf<'devicetwin/update'>, 'device' | 'envelope'>,
    report: Report,
  ): Promise<void> {
    const { cache, sender, reports, log } = this.#components;
    const id = envelope.header.msg_id;
    const object = cache.get('device', device.namespace, device.name);
    // Nobody will ever want it.
    if (object === undefined) return await sender.send(confirmation(node, id));
    if (deviceNodeOf(object) !== node) {
      log.warn({ node, device }, 'an edge reports a device that is not its own');
      const reason = `device ${device.namespace}/${device.name} is not of this node`;
      return await sender.send(refusal(node, id, reason));
    }
    reports.add(device, report, () => sender.send(confirmation(node, id)));
  }
}
