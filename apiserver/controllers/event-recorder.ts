/** Tells of what a controller did or could not do, as Events; the same news again only counts. */

import { createHash } from 'node:crypto';
import type { Clock } from '#beehive/clock.ts';
import { type Api, resource } from '../api.ts';
import { type KubeObject, valueAt } from '../kube-object.ts';
import { timeText } from '../service/write-context.ts';

export interface News {
  readonly about: KubeObject;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

export async function record(
  { api, clock, component }: { api: Api; clock: Clock; component: string },
  { about, type, reason, message }: News,
): Promise<void> {
  const { name, namespace = 'default', uid = '', resourceVersion = '' } = about.metadata;
  const digest = createHash('sha256').update(`${uid} ${reason} ${message}`).digest('hex').slice(0, 16);
  const now = timeText(clock.now());
  const at = { ...resource.events, namespace, name: `${name}.${digest}` };
  const known = api.get(at);
  if (known !== undefined) {
    await api.patch(at, { count: Number(valueAt(known, 'count') ?? 0) + 1, lastTimestamp: now });
    return;
  }
  await api.create(resource.events, {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: at.name, namespace },
    involvedObject: {
      apiVersion: about.apiVersion,
      kind: about.kind,
      name,
      uid,
      resourceVersion,
      ...(about.metadata.namespace === undefined ? {} : { namespace }),
    },
    reason,
    message,
    type,
    source: { component },
    reportingComponent: component,
    reportingInstance: '',
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  });
}
