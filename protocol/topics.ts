/**
 * MQTT topics of the edge, built and read by position. KubeEdge finds the parts by searching for the device's
 * name in the topic, and so fails for names like `device` or `events`; that is not repeated here.
 */

import type { DeviceRef } from './resource-path.ts';

const deviceRoot = '$hw/events/device';
const nodeRoot = '$hw/events/node';

/** What clients ask of a device. */
export const deviceRequests = ['state/update', 'twin/get', 'twin/update', 'twin/cloud_updated'] as const;
export type DeviceRequest = (typeof deviceRequests)[number];

/** What the edge says about a device. */
export type DeviceNews =
  | 'state/update/result'
  | 'twin/get/result'
  | 'twin/update/result'
  | 'twin/update/document'
  | 'twin/update/delta'
  | 'updated';

export type NodeNews = 'membership/get/result' | 'membership/updated';

/** A topic that a client published to. `upload` topics go to the cloud as they are. */
export type Topic =
  | { readonly kind: 'device'; readonly device: DeviceRef; readonly request: DeviceRequest }
  | { readonly kind: 'membership'; readonly node: string }
  | { readonly kind: 'upload' }
  | { readonly kind: 'other' };

/** Where a failed `twin/update` is answered when the body was unreadable: KubeEdge leaves the device empty there. */
export const anonymousUpdateResult = `${deviceRoot}//twin/update/result`;

/** What the edge subscribes to at start, in KubeEdge's order. */
export const fixedSubscriptions = [
  '$hw/events/upload/#',
  `${deviceRoot}/+/+/state/update`,
  `${deviceRoot}/+/+/twin/+`,
  `${nodeRoot}/+/membership/get`,
  'SYS/dis/upload_records',
  '+/user/#',
] as const;

export function deviceTopic(device: DeviceRef, what: DeviceRequest | DeviceNews): string {
  return `${deviceRoot}/${device.namespace}/${device.name}/${what}`;
}

export function nodeTopic(node: string, what: NodeNews | 'membership/get'): string {
  return `${nodeRoot}/${node}/${what}`;
}

export function parseTopic(topic: string): Topic {
  const segments = topic.split('/');
  const [first, second, third] = segments;
  if (first === '$hw' && second === 'events') {
    if (third === 'device') return parseDeviceTopic(segments);
    if (third === 'node') return parseNodeTopic(segments);
    return third === 'upload' ? { kind: 'upload' } : { kind: 'other' };
  }
  if (topic === 'SYS/dis/upload_records') return { kind: 'upload' };
  return first !== '' && second === 'user' ? { kind: 'upload' } : { kind: 'other' };
}

function parseDeviceTopic(segments: readonly string[]): Topic {
  const [, , , namespace, name, ...rest] = segments;
  const text = rest.join('/');
  const request = deviceRequests.find((known) => known === text);
  if (!namespace || !name || request === undefined) return { kind: 'other' };
  return { kind: 'device', device: { namespace, name }, request };
}

function parseNodeTopic(segments: readonly string[]): Topic {
  const [, , , node, ...rest] = segments;
  return node && rest.join('/') === 'membership/get' ? { kind: 'membership', node } : { kind: 'other' };
}

/** Whether a topic may be published to: not empty, no wildcard, no NUL, within MQTT's 65,535 bytes. */
export function isPublishTopic(topic: string): boolean {
  return topic !== '' && !/[#+\0]/.test(topic) && Buffer.byteLength(topic) <= 65_535;
}
