/**
 * Events about pods and the node, for people who ask `kubectl describe`. MetaManager keeps them until the cloud has
 * them. The same news again raises the count of the event that is there, at most every ten seconds; news that differs
 * in its words only becomes one event once there is much of it.
 */

import { randomUUID } from 'node:crypto';
import type { Bus } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import { type Pod, podNamespace } from './pod/pod.ts';
import { apiTime } from './pod/pod-status.ts';
import { SimilarEvents } from './similar-events.ts';

export interface EventRecorder {
  pod(pod: Pod, type: 'Normal' | 'Warning', reason: string, message: string, container?: string): void;
}

export interface NodeEvents {
  /** About this node. */
  node(type: 'Normal' | 'Warning', reason: string, message: string): void;
}

interface About {
  readonly kind: 'Pod' | 'Node';
  readonly namespace: string | undefined;
  readonly name: string;
  readonly uid: string;
  readonly fieldPath?: string;
}

interface Known {
  readonly name: string;
  readonly firstMs: number;
  sentMs: number;
  count: number;
}

const knownMax = 512;
const repeatMs = 10_000;
const forgetMs = 600_000;
const messageMax = 1024;

export function createEventRecorder(
  options: { nodeName: string; enabled: boolean },
  components: { bus: Bus; clock: Clock },
): EventRecorder & NodeEvents {
  const { bus, clock } = components;
  const known = new Map<string, Known>();
  const similar = new SimilarEvents(clock);

  /** Undefined when it is too soon to say it again. */
  function count(key: string, podName: string): { known: Known; again: boolean } | undefined {
    const nowMs = clock.now();
    const before = known.get(key);
    if (before !== undefined && nowMs - before.sentMs < forgetMs) {
      before.count += 1;
      if (nowMs - before.sentMs < repeatMs) return undefined;
      before.sentMs = nowMs;
      return { known: before, again: true };
    }
    const name = `${podName}.${randomUUID().replaceAll('-', '').slice(0, 16)}`;
    const fresh = { name, firstMs: nowMs, sentMs: nowMs, count: 1 };
    known.delete(key);
    known.set(key, fresh);
    for (const oldest of known.keys()) {
      if (known.size <= knownMax) break;
      known.delete(oldest);
    }
    return { known: fresh, again: false };
  }

  function say(about: About, type: 'Normal' | 'Warning', reason: string, text: string): void {
    if (!options.enabled) return;
    const subject = `${about.kind}/${about.uid}/${about.fieldPath ?? ''}/${reason}`;
    const { key, message } = similar.take(subject, text);
    const counted = count(key, about.name);
    if (counted === undefined) return;
    const namespace = about.namespace ?? 'default';
    const { name, sentMs } = counted.known;
    const event = {
      ...eventOf(about, counted.known, options.nodeName),
      metadata: { name, namespace },
      type,
      reason,
      message: message.slice(0, messageMax),
    };
    const route = {
      source: source.edged,
      group: group.meta,
      operation: counted.again ? operation.update : operation.insert,
      resource: `${namespace}/event/${name}`,
    };
    bus.send('metamanager', newEnvelope(route, event, { timestampMs: sentMs }));
  }

  return {
    pod(pod, type, reason, message, container) {
      const { name, uid } = pod.metadata;
      const about = { kind: 'Pod', namespace: podNamespace(pod), name, uid } as const;
      const fieldPath = container === undefined ? {} : { fieldPath: `spec.containers{${container}}` };
      say({ ...about, ...fieldPath }, type, reason, message);
    },
    // As the kubelet does: the node's name stands for its uid, by which `kubectl describe node` finds the event.
    node: (type, reason, message) =>
      say(
        { kind: 'Node', namespace: undefined, name: options.nodeName, uid: options.nodeName },
        type,
        reason,
        message,
      ),
  };
}

function eventOf(about: About, { firstMs, sentMs, count }: Known, nodeName: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Event',
    involvedObject: { ...about, apiVersion: 'v1' },
    source: { component: 'kubelet', host: nodeName },
    firstTimestamp: apiTime(firstMs),
    lastTimestamp: apiTime(sentMs),
    count,
    reportingComponent: 'kubelet',
    reportingInstance: nodeName,
  };
}
