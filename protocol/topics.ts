/**
 * The MQTT topics of an edge: which are the edge's own business, which go up, and what each names. Topics are
 * read by position, so that a namespace called `device` or `events` is a namespace like any other.
 */

/** Mappers speak here; `<ns>/<name>` follows. */
export const devicePrefix = '$hw/events/device';
/** `<node>` follows. */
export const nodePrefix = '$hw/events/node';

/** What the edge listens to from its start; rules add to it. */
export const fixedSubscriptions: readonly string[] = [
  '$hw/events/upload/#',
  `${devicePrefix}/+/+/state/update`,
  `${devicePrefix}/+/+/twin/+`,
  `${nodePrefix}/+/membership/get`,
  'SYS/dis/upload_records',
  '+/user/#',
];

export type DeviceRequest = 'state/update' | 'twin/get' | 'twin/update' | 'twin/cloud_updated';

export type DeviceAnswer =
  | 'state/update/result'
  | 'twin/get/result'
  | 'twin/update/result'
  | 'twin/update/document'
  | 'twin/update/delta'
  | 'updated';

export type NodeAnswer = 'membership/get/result' | 'membership/updated';

export type LocalTopic =
  | { readonly kind: DeviceRequest; readonly device: string }
  | { readonly kind: 'membership/get'; readonly node: string };

const deviceRequests: ReadonlySet<string> = new Set<DeviceRequest>([
  'state/update',
  'twin/get',
  'twin/update',
  'twin/cloud_updated',
]);

function isDeviceRequest(text: string): text is DeviceRequest {
  return deviceRequests.has(text);
}

/** True for topics that DeviceTwin answers; all others are uploaded. */
export function isLocalTopic(topic: string): boolean {
  return topic.startsWith(`${devicePrefix}/`) || topic.startsWith(`${nodePrefix}/`);
}

/** What a client asks for, or undefined when the topic is none that a client may ask on. */
export function parseLocalTopic(topic: string): LocalTopic | undefined {
  const [hw, events, what, first, second, ...rest] = topic.split('/');
  if (hw !== '$hw' || events !== 'events' || !first || !second) return undefined;
  if (what === 'device') {
    const kind = rest.join('/');
    return isDeviceRequest(kind) ? { kind, device: `${first}/${second}` } : undefined;
  }
  if (what === 'node' && second === 'membership' && rest.join('/') === 'get') {
    return { kind: 'membership/get', node: first };
  }
  return undefined;
}

export function deviceTopic(device: string, answer: DeviceAnswer | DeviceRequest): string {
  return `${devicePrefix}/${device}/${answer}`;
}

export function nodeTopic(node: string, answer: NodeAnswer | 'membership/get'): string {
  return `${nodePrefix}/${node}/${answer}`;
}

/** Whether a subscription takes a topic (MQTT 3.1.1, 4.7: a wildcard does not match a leading `$`). */
export function topicMatches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && (filter.startsWith('+') || filter.startsWith('#'))) return false;
  const wanted = filter.split('/');
  const levels = topic.split('/');
  for (const [at, level] of wanted.entries()) {
    if (level === '#') return at === wanted.length - 1;
    if (at >= levels.length || (level !== '+' && level !== levels[at])) return false;
  }
  return wanted.length === levels.length;
}

/** Whether a text may be a subscription: `+` stands alone in its level, `#` alone in the last. */
export function isTopicFilter(text: string): boolean {
  if (text === '' || text.includes('\0')) return false;
  const levels = text.split('/');
  return levels.every((level, at) => {
    if (level === '#') return at === levels.length - 1;
    return level === '+' || !/[+#]/.test(level);
  });
}
