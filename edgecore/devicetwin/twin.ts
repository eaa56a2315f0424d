/**
 * Twin requests of clients, decided purely: `twin/get` and `twin/update`. An update is refused as a whole or
 * taken as a whole; each side that it names counts as written, also with the value it had.
 */

import type { z } from 'zod';
import { deviceTopic } from '#protocol/topics.ts';
import { eventRequestSchema, type TwinEntryBody, twinUpdateSchema } from '#protocol/twin.ts';
import type { Device, Property, Side } from '../store/twin-store.ts';
import {
  deletedType,
  deltaReplies,
  documentReply,
  isVisible,
  propertyBody,
  sideBody,
  sorted,
} from './bodies.ts';
import { answered, errorBody, type Moment, type Outcome, type Reply, rejected } from './outcome.ts';
import { isKey, isValue, keyReason, typeMismatch, valueReason } from './validation.ts';

/** Properties of one device, deleted ones included, whose versions must go on. */
const propertiesMax = 1_000;

/** What stands where the device should, in the topic on which KubeEdge answers what it cannot read. */
const noDevice = '';

export function getTwin(device: Device | undefined, id: string, payload: string, moment: Moment): Outcome {
  const topic = deviceTopic(id, 'twin/get/result');
  const request = parse(payload, eventRequestSchema);
  if (request === undefined) {
    const reason = `Unmarshal twin info ${payload.slice(0, 200)} failed , err: the body is not an event in JSON`;
    return answered([{ topic, body: errorBody('', moment, 400, reason) }]);
  }
  const eventId = request.event_id ?? '';
  if (device === undefined) {
    const reason = `Device ${id} not found while getting twin`;
    return answered([{ topic, body: errorBody(eventId, moment, 404, reason) }]);
  }
  const visible = [...device.twin].filter(([, property]) => isVisible(property));
  const twin = sorted(visible.map(([key, property]): [string, object] => [key, propertyBody(property)]));
  return answered([{ topic, body: { event_id: eventId, timestamp: moment.nowMs, twin } }]);
}

export function updateTwin(device: Device | undefined, id: string, payload: string, moment: Moment): Outcome {
  const topic = deviceTopic(id, 'twin/update/result');
  const request = parse(payload, twinUpdateSchema);
  const eventId = request?.event_id ?? '';
  if (request === undefined) {
    return unreadable(id, eventId, moment, 'Unmarshal update request body failed, please check the request');
  }
  if (request.twin === undefined || request.twin === null) {
    return unreadable(id, eventId, moment, 'Update twin error, key:twin does not exist');
  }
  const entries = Object.entries(request.twin).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [key, entry] of entries) {
    if (!isKey(key)) return unreadable(id, eventId, moment, keyReason);
    if (!isValue(entry?.expected?.value ?? '') || !isValue(entry?.actual?.value ?? '')) {
      return unreadable(id, eventId, moment, valueReason);
    }
  }
  const error = (code: 400 | 404 | 500, reason: string): Reply[] => [
    { topic, body: errorBody(eventId, moment, code, reason) },
  ];
  const fail = (code: 400 | 404, reason: string) => rejected(error(code, reason), code, reason);
  if (device === undefined) return fail(404, 'update rejected due to the device is not existed');

  const twin = new Map(device.twin);
  const result: [string, object | null][] = [];
  const changed: string[] = [];
  for (const [key, entry] of entries) {
    const known = twin.get(key);
    const written =
      entry === null || isDeletion(entry) ? deleted(known, moment) : merged(known, entry, moment);
    if (typeof written === 'string') return fail(400, written);
    if (written === undefined) continue;
    twin.set(key, written.property);
    changed.push(key);
    result.push([key, written.result]);
  }
  if (twin.size > propertiesMax) {
    return fail(400, `a device has at most ${propertiesMax} properties`);
  }
  const after: Device = { ...device, twin };
  const named = entries
    .map(([key]) => key)
    // A key that could not be deleted is not news; one that was not there is, as null before and after.
    .filter((key) => changed.includes(key) || !isVisible(device.twin.get(key)));
  return {
    change: {
      deviceId: id,
      device: after,
      row: false,
      properties: changed,
      marks: changed.map((name) => ({ kind: 'twin', name })),
    },
    replies: [
      { topic, body: { event_id: eventId, timestamp: moment.nowMs, twin: Object.fromEntries(result) } },
      documentReply(device, after, named, eventId, moment),
      ...deltaReplies(after, moment),
    ],
    refused: error(500, 'Update twin failed, the edge could not store it'),
    notes: [],
  };
}

/** A side after a write at the edge. */
export function nextSide(side: Side | undefined, value: string, moment: Moment): Side {
  const { cloud, edge } = side?.version ?? { cloud: 0, edge: 0 };
  return { value, timestampMs: moment.nowMs, version: { cloud, edge: edge + 1 } };
}

interface Written {
  readonly property: Property;
  readonly result: object | null;
}

function isDeletion(entry: TwinEntryBody): boolean {
  return entry.metadata?.type === deletedType;
}

function isUnwritten(property: Property): boolean {
  return property.expected === undefined && property.actual === undefined;
}

/** Undefined when nothing is there to delete, or it may not be. */
function deleted(known: Property | undefined, moment: Moment): Written | undefined {
  if (!isVisible(known) || !known.optional) return undefined;
  const cleared = (side: Side | undefined) => (side === undefined ? undefined : nextSide(side, '', moment));
  const property: Property = {
    ...known,
    expected: cleared(known.expected),
    actual: cleared(known.actual),
    type: deletedType,
  };
  return { property, result: null };
}

/** The property with what the request says of it; a text is the reason why not. */
function merged(known: Property | undefined, entry: TwinEntryBody, moment: Moment): Written | string {
  const fresh = known === undefined || known.type === deletedType || isUnwritten(known);
  const type = fresh ? known?.declaredType || (entry.metadata?.type ?? 'string') : known.type;
  const reason =
    typeMismatch(type, entry.expected?.value ?? '') ?? typeMismatch(type, entry.actual?.value ?? '');
  if (reason !== undefined) return reason;
  const write = (side: Side | undefined, wanted: { readonly value: string } | null | undefined) =>
    wanted === undefined || wanted === null ? side : nextSide(side, wanted.value, moment);
  const expected = write(known?.expected, entry.expected);
  const actual = write(known?.actual, entry.actual);
  const property: Property = {
    expected,
    actual,
    // Once set to false it stays so, unless the key was deleted in between.
    optional: (fresh || known.optional) && entry.optional !== false,
    type,
    declaredType: known?.declaredType,
    appliedDesired: known?.appliedDesired,
  };
  const result = {
    ...(entry.expected && expected ? { expected: sideBody(expected) } : {}),
    ...(entry.actual && actual ? { actual: sideBody(actual) } : {}),
    optional: property.optional,
    metadata: { type },
  };
  return { property, result };
}

/** KubeEdge answers these on a topic without a device; clients of either kind get theirs. */
function unreadable(id: string, eventId: string, moment: Moment, reason: string): Outcome {
  const replies = [
    { topic: deviceTopic(noDevice, 'twin/update/result'), body: errorBody('', moment, 400, reason) },
    { topic: deviceTopic(id, 'twin/update/result'), body: errorBody(eventId, moment, 400, reason) },
  ];
  return rejected(replies, 400, reason);
}

/** Undefined when the payload is not JSON of that shape. */
export function parse<S extends z.ZodType>(payload: string, schema: S): z.infer<S> | undefined {
  let body: unknown;
  try {
    body = JSON.parse(payload);
  } catch {
    return undefined;
  }
  // A request without fields may be written as null; a list is none.
  const parsed = Array.isArray(body) ? undefined : schema.safeParse(body ?? {});
  return parsed?.data;
}
