/**
 * Events about pods and the node, for people who ask `kubectl describe`. MetaManager keeps them until the cloud has
 * them. The same news again raises the count of the event that is there, at most every ten seconds.
 */

import { randomUUID } from 'node:crypto';
import type { Bus } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import { type Pod, podNamespace } from './pod.ts';
import { apiTime } from './pod-status.ts';

export interface EventRecorder {
  pod(pod: Pod, type: 'Normal' | 'Warning', reason: string, message: string, container?: string): void;
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
): EventRecorder {
  const { bus, clock } = components;
  const known = new Map<string, Known>();

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

  return {
    pod(pod, type, reason, message, container) {
      if (!options.enabled) return;
      const counted = count(`${pod.metadata.uid}/${container ?? ''}/${reason}/${message}`, pod.metadata.name);
      if (counted === undefined) return;
      const namespace = podNamespace(pod);
      const { name, firstMs, sentMs } = counted.known;
      const fieldPath = container === undefined ? {} : { fieldPath: `spec.containers{${container}}` };
      const event = {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name, namespace },
        involvedObject: {
          apiVersion: 'v1',
          kind: 'Pod',
          namespace,
          name: pod.metadata.name,
          uid: pod.metadata.uid,
          ...fieldPath,
        },
        type,
        reason,
        message: message.slice(0, messageMax),
        source: { component: 'kubelet', host: options.nodeName },
        firstTimestamp: apiTime(firstMs),
        lastTimestamp: apiTime(sentMs),
        count: counted.known.count,
        reportingComponent: 'kubelet',
        reportingInstance: options.nodeName,
      };
      const route = {
        source: source.edged,
        group: group.meta,
        operation: counted.again ? operation.update : operation.insert,
        resource: `${namespace}/event/${name}`,
      };
      bus.send('metamanager', newEnvelope(route, event, { timestampMs: sentMs }));
    },
  };
}
