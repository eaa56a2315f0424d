/**
 * Hands messages to CloudHub's inbox, waiting for room instead of losing any: controllers are level-triggered,
 * but an answer that was dropped is a minute of waiting at the edge.
 */

import type { Bus } from '#beehive/bus.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { group, operation } from '#protocol/names.ts';
import { parseObjectPath, withNode } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import type { Step } from './difference.ts';

const cloudHubInbox = 'cloudhub';

export class Sender {
  readonly #bus: Pick<Bus, 'send' | 'drained'>;

  constructor(bus: Pick<Bus, 'send' | 'drained'>) {
    this.#bus = bus;
  }

  async send(envelope: Envelope): Promise<void> {
    while (this.#bus.send(cloudHubInbox, envelope) === 'full') await this.#bus.drained(cloudHubInbox);
  }

  /**
   * A step of a difference as CloudHub takes it: bodies of upserts are read by CloudHub when it sends them. A
   * removal says the object's identity, or all of it where `last` is given.
   */
  async sendStep(
    { source, node, upsert }: { source: string; node: string; upsert: 'insert' | 'update' },
    step: Step,
    last?: KubeObject,
  ): Promise<void> {
    const removal = step.do === 'remove';
    const route = {
      source,
      group: group.resource,
      operation: removal ? operation.delete : upsert,
      resource: withNode(node, step.path),
    };
    if (!removal) return await this.send(newEnvelope(route, undefined, { resourceVersion: step.version }));
    const { resourceVersion } = last?.metadata ?? {};
    const header = resourceVersion === undefined ? {} : { resourceVersion };
    await this.send(newEnvelope(route, last ?? skeletonOf(step), header));
  }
}

function skeletonOf({ path, uid }: Step): object {
  const { namespace, name } = parseObjectPath(path);
  return { metadata: { name, ...(namespace === undefined ? {} : { namespace }), uid } };
}
