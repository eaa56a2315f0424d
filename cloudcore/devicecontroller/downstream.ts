/**
 * Keeps every connected edge holding its Devices and their models, level-triggered, and tells it which devices
 * are its own: membership goes before the device appears and before it is taken away.
 */

import type { Clock } from '#beehive/clock.ts';
import { applySteps, difference, type HeldVersion, type Step } from '#cloudcore/kube/difference.ts';
import { NodeSessions, type SessionKind } from '#cloudcore/kube/node-sessions.ts';
import { type Change, deviceModelOf, deviceNodeOf, type ObjectCache } from '#cloudcore/kube/objects.ts';
import type { Sender } from '#cloudcore/kube/sender.ts';
import type { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import { source } from '#protocol/names.ts';
import { parseObjectPath } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import type { Held } from '#protocol/session.ts';
import type { Member } from '#protocol/twin.ts';
import { desiredOf, isOwnType, mayRemove } from './desired.ts';
import { membership } from './messages.ts';

export interface DownstreamComponents {
  readonly cache: ObjectCache;
  readonly sender: Sender;
  readonly queue: WorkQueue;
  readonly clock: Clock;
}

export class Downstream {
  readonly #cache: ObjectCache;
  readonly #sender: Sender;
  readonly #queue: WorkQueue;
  readonly #clock: Clock;
  readonly #sessions = new NodeSessions();

  constructor({ cache, sender, queue, clock }: DownstreamComponents) {
    this.#cache = cache;
    this.#sender = sender;
    this.#queue = queue;
    this.#clock = clock;
    cache.onChange((change) => this.#changed(change));
  }

  /** Works until the signal is aborted; sends nothing before the cache has been filled. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#cache.whenSynced(signal);
    await this.#queue.run((node) => this.#syncNode(node), signal);
  }

  connected(node: string, kind: SessionKind): void {
    if (this.#sessions.open(node, kind).ready) this.#queue.add(node);
  }

  disconnected(node: string): void {
    this.#sessions.close(node);
    this.#queue.forget(node);
  }

  /** Objects of another epoch are left alone, as EdgeController does; that one also answers. */
  held(node: string, { epoch, objects }: Held): void {
    const session = this.#sessions.get(node);
    if (session === undefined) return;
    session.held = new Map<string, HeldVersion>();
    if (epoch !== null && epoch === this.#cache.epoch) {
      for (const { path, uid, resourceVersion } of objects) {
        if (hasOwnPath(path)) session.held.set(path, { uid, version: resourceVersion });
      }
    }
    session.ready = true;
    this.#queue.add(node);
  }

  /** All devices of the node, as the answer to `membership/detail`. */
  async sendMembership(node: string): Promise<void> {
    const added = [...this.#cache.devicesOf(node)].map(memberOf);
    if (added.length > 0) await this.#sender.send(membership(node, { added }, this.#clock));
  }

  #changed({ kind, type, object, before }: Change): void {
    if (kind === 'node' && type === 'deleted') this.#sessions.forget(object.metadata.name);
    else if (kind === 'device') {
      this.#wake(deviceNodeOf(object));
      if (before !== undefined) this.#wake(deviceNodeOf(before));
    } else if (kind === 'devicemodel') {
      const { namespace, name } = object.metadata;
      for (const node of this.#sessions.nodes()) {
        for (const device of this.#cache.devicesOf(node)) {
          if (device.metadata.namespace === namespace && deviceModelOf(device) === name) this.#wake(node);
        }
      }
    }
  }

  #wake(node: string | undefined): void {
    if (node !== undefined && this.#sessions.get(node)?.ready) this.#queue.add(node);
  }

  async #syncNode(node: string): Promise<void> {
    const session = this.#sessions.get(node);
    if (!session?.ready) return;
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
    for (const step of removals) await this.#sendStep(node, step, 'update');
    const joining = sends
      .filter((step) => isDevice(step) && isNew(step))
      .flatMap(({ path }) => this.#member(path));
    if (joining.length > 0) await this.#sender.send(membership(node, { added: joining }, this.#clock));
    for (const step of sends) await this.#sendStep(node, step, isNew(step) ? 'insert' : 'update');
  }

  #sendStep(node: string, step: Step, upsert: 'insert' | 'update'): Promise<void> {
    return this.#sender.sendStep(source.deviceController, node, step, upsert);
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

/** Paths come from an edge: what is no path, or another controller's, is none of ours. */
function hasOwnPath(text: string): boolean {
  try {
    return isOwnType(parseObjectPath(text).type);
  } catch {
    return false;
  }
}
