/**
 * Keeps every connected edge holding its Devices and their models, level-triggered, and tells it which devices
 * are its own: membership goes before the device appears and before it is taken away.
 */

import type { Clock } from '#beehive/clock.ts';
import type { DeliveryLedger } from '#cloudcore/kube/delivery-ledger.ts';
import { applySteps, difference, type Step } from '#cloudcore/kube/difference.ts';
import type { NodeSession } from '#cloudcore/kube/node-sessions.ts';
import { NodeSync } from '#cloudcore/kube/node-sync.ts';
import { type Change, deviceModelOf, deviceNodeOf, type ObjectCache } from '#cloudcore/kube/objects.ts';
import type { Sender } from '#cloudcore/kube/sender.ts';
import type { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import { source } from '#protocol/names.ts';
import { parseObjectPath } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import type { Held, SessionKind } from '#protocol/session.ts';
import type { Member } from '#protocol/twin.ts';
import { desiredOf, isOwnType, mayRemove, neededTypes } from './desired.ts';
import { membership } from './messages.ts';

export interface DownstreamComponents {
  readonly cache: ObjectCache;
  readonly ledger: DeliveryLedger;
  readonly sender: Sender;
  readonly queue: WorkQueue;
  readonly clock: Clock;
}

export class Downstream {
  readonly #cache: ObjectCache;
  readonly #sender: Sender;
  readonly #clock: Clock;
  readonly #nodes: NodeSync;

  constructor({ cache, ledger, sender, queue, clock }: DownstreamComponents) {
    this.#cache = cache;
    this.#sender = sender;
    this.#clock = clock;
    this.#nodes = new NodeSync({ isOwnType, neededTypes }, { cache, ledger, queue });
    cache.onChange((change) => this.#changed(change));
  }

  /** Works until the signal is aborted; sends nothing before the cache has been filled. */
  run(signal: AbortSignal): Promise<void> {
    return this.#nodes.run(
      signal,
      (node, session) => this.#syncNode(node, session),
      (node) => this.#nodes.wake(node),
    );
  }

  connected(node: string, kind: SessionKind): void {
    if (this.#nodes.open(node, kind)) this.#nodes.wake(node);
  }

  disconnected(node: string): void {
    this.#nodes.close(node);
  }

  /** EdgeController answers it. */
  held(node: string, held: Held): void {
    this.#nodes.held(node, held);
  }

  /** All devices of the node, as the answer to `membership/detail`. */
  async sendMembership(node: string): Promise<void> {
    const added = [...this.#cache.devicesOf(node)].map(memberOf);
    if (added.length > 0) await this.#sender.send(membership(node, { added }, this.#clock));
  }

  #changed({ kind, object, before }: Change): void {
    if (kind === 'node') {
      if (this.#nodes.acceptForeign(object.metadata.name)) this.#nodes.wake(object.metadata.name);
    } else if (kind === 'device') {
      this.#nodes.wake(deviceNodeOf(object));
      if (before !== undefined) this.#nodes.wake(deviceNodeOf(before));
    } else if (kind === 'devicemodel') {
      const { namespace, name } = object.metadata;
      for (const node of this.#nodes.nodes()) {
        for (const device of this.#cache.devicesOf(node)) {
          if (device.metadata.namespace === namespace && deviceModelOf(device) === name)
            this.#nodes.wake(node);
        }
      }
    }
  }

  async #syncNode(node: string, session: NodeSession): Promise<void> {
    const wanted = desiredOf(node, this.#cache);
    const before = session.held;
    const steps = difference(wanted, before, (path, held) => mayRemove(node, this.#cache, path, held));
    session.held = applySteps(before, steps);
    const removals = devicesLast(steps.filter((step) => step.do === 'remove')).reverse();
    const removed = new Set(removals.map(({ path }) => path));
    const isNew = ({ path }: Step) => !before.has(path) || removed.has(path);
    const sends = steps.filter((step) => step.do === 'send');

    const leaving = removals.filter(isDevice).map(({ path }) => memberAt(path));
    if (leaving.length > 0) await this.#sender.send(membership(node, { removed: leaving }, this.#clock));
    for (const step of removals) await this.#remove(node, session.kind, step);
    const joining = sends
      .filter((step) => isDevice(step) && isNew(step))
      .flatMap(({ path }) => this.#member(path));
    if (joining.length > 0) await this.#sender.send(membership(node, { added: joining }, this.#clock));
    for (const step of sends) {
      const upsert = isNew(step) ? 'insert' : 'update';
      await this.#sender.sendStep({ source: source.deviceController, node, upsert }, step);
    }
  }

  /** A KubeEdge edge looks into the removed object for the protocol whose mapper is to be told. */
  async #remove(node: string, session: SessionKind, step: Step): Promise<void> {
    const path = parseObjectPath(step.path);
    const last = session === 'kubeedge' ? this.#cache.lastSeen(path, step.uid) : undefined;
    await this.#sender.sendStep({ source: source.deviceController, node, upsert: 'update' }, step, last);
  }

  #member(path: string): Member[] {
    const device = this.#cache.known(parseObjectPath(path))?.object;
    return device === undefined ? [] : [memberOf(device)];
  }
}

function isDevice({ path }: Step): boolean {
  return parseObjectPath(path).type === 'device';
}

/** Models before the devices that use them; the other way round when they leave. */
function devicesLast(steps: readonly Step[]): Step[] {
  return [...steps.filter((step) => !isDevice(step)), ...steps.filter(isDevice)];
}

function memberAt(text: string): Member {
  const { namespace, name } = parseObjectPath(text);
  return { id: `${namespace}/${name}`, ...(name === undefined ? {} : { name }) };
}

function memberOf({ metadata }: KubeObject): Member {
  const description = metadata.labels?.description;
  return {
    id: `${metadata.namespace}/${metadata.name}`,
    name: metadata.name,
    ...(description === undefined ? {} : { description }),
  };
}
