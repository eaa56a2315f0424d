/** Which devices belong to this node: news from the cloud and questions of clients, decided purely. */

import { nodeTopic } from '#protocol/topics.ts';
import { eventRequestSchema, type Member } from '#protocol/twin.ts';
import type { Device } from '../store/twin-store.ts';
import { withAttributes } from './attributes.ts';
import { answered, errorBody, ignored, type Moment, type Outcome, type Reply } from './outcome.ts';
import { parse } from './twin.ts';

/** `<namespace>/<name>`, as Kubernetes allows both. */
const idPattern = /^[a-z0-9][a-z0-9.-]{0,252}\/[a-z0-9][a-z0-9.-]{0,252}$/;

export function addMember(known: Device | undefined, member: Member, node: string, moment: Moment): Outcome {
  if (!idPattern.test(member.id)) return ignored(`"${member.id.slice(0, 200)}" is not a device id`);
  const description = member.description ?? known?.description ?? '';
  const row = known === undefined || known.description !== description;
  const base: Device = { ...(known ?? newDevice(member.id)), description };
  const { device, changed: attributes, replies } = withAttributes(base, member.attributes, moment);
  if (!row && attributes.length === 0) return answered([]);
  return {
    change: { deviceId: member.id, device, row, properties: [], attributes, marks: [] },
    replies: [...(known === undefined ? [membershipNews(node, moment, { added: device })] : []), ...replies],
    refused: [],
    notes: [],
  };
}

export function removeMember(known: Device | undefined, id: string, node: string, moment: Moment): Outcome {
  if (known === undefined) return answered([]);
  return {
    change: { deviceId: id, device: undefined, row: true, properties: [], marks: [] },
    replies: [membershipNews(node, moment, { removed: known })],
    refused: [],
    notes: [],
  };
}

/** The answer names this node, whichever node was asked for: there is no other on this broker. */
export function listMembers(
  devices: Iterable<Device>,
  payload: string,
  node: string,
  moment: Moment,
): Outcome {
  const topic = nodeTopic(node, 'membership/get/result');
  const request = parse(payload, eventRequestSchema);
  if (request === undefined) {
    const reason = 'Unmarshal membership request body failed, please check the request';
    return answered([{ topic, body: errorBody('', moment, 400, reason) }]);
  }
  const listed = [...devices].map(memberBody);
  const body = { event_id: request.event_id ?? '', timestamp: moment.nowMs, devices: listed };
  return answered([{ topic, body }]);
}

export function newDevice(id: string): Device {
  return {
    id,
    name: id.slice(id.indexOf('/') + 1),
    description: '',
    state: '',
    lastOnline: '',
    uid: undefined,
    attributes: new Map(),
    twin: new Map(),
  };
}

/** One message per device; the list without news is null. */
export function membershipNews(
  node: string,
  moment: Moment,
  news: { readonly added: Device } | { readonly removed: Device },
): Reply {
  const member = (device: Device) => [
    {
      id: device.id,
      name: device.name,
      ...(device.description === '' ? {} : { description: device.description }),
    },
  ];
  return {
    topic: nodeTopic(node, 'membership/updated'),
    body: {
      event_id: moment.newEventId(),
      timestamp: moment.nowMs,
      added_devices: 'added' in news ? member(news.added) : null,
      removed_devices: 'removed' in news ? member(news.removed) : null,
    },
  };
}

/** Empty fields are left out, twins are not listed. */
function memberBody(device: Device): object {
  const attributes = [...device.attributes].map(([name, { value, optional, type }]): [string, object] => [
    name,
    { value, optional, metadata: { type } },
  ]);
  return {
    id: device.id,
    name: device.name,
    ...(device.description === '' ? {} : { description: device.description }),
    ...(device.state === '' ? {} : { state: device.state }),
    ...(device.lastOnline === '' ? {} : { last_online: device.lastOnline }),
    ...(attributes.length === 0 ? {} : { attributes: Object.fromEntries(attributes) }),
  };
}
