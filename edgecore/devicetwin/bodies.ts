/** How a device's state is written in answers, news and reports. Keys are sorted, so that equal states read equal. */

import { deviceTopic } from '#protocol/topics.ts';
import type { Device, Property, Side } from '../store/twin-store.ts';
import type { Moment, Reply } from './outcome.ts';

export const deletedType = 'deleted';

/** Whether clients see the property: not when it is only declared by the spec, and not when it was deleted. */
export function isVisible(property: Property | undefined): property is Property {
  return (
    property !== undefined &&
    property.type !== deletedType &&
    (property.expected !== undefined || property.actual !== undefined || property.declaredType === undefined)
  );
}

export function sideBody(side: Side): object {
  return { value: side.value, metadata: { timestamp: side.timestampMs } };
}

/** A property as answers show it: without versions; sides that are empty are left out. */
export function propertyBody(property: Property): object {
  const { expected, actual } = property;
  return {
    ...(expected === undefined || expected.value === '' ? {} : { expected: sideBody(expected) }),
    ...(actual === undefined || actual.value === '' ? {} : { actual: sideBody(actual) }),
    optional: property.optional,
    metadata: { type: property.type },
  };
}

/** A property as the cloud gets it: both sides with their versions, cleared ones as empty values. */
export function reportBody(property: Property): object {
  const { expected, actual } = property;
  return {
    ...(expected === undefined ? {} : { expected: sideBody(expected), expected_version: expected.version }),
    ...(actual === undefined ? {} : { actual: sideBody(actual), actual_version: actual.version }),
    optional: property.optional,
    metadata: { type: property.type },
  };
}

/** Last and current state of the keys that an update named. */
export function documentReply(
  before: Device | undefined,
  after: Device,
  keys: Iterable<string>,
  eventId: string,
  moment: Moment,
): Reply {
  const state = (property: Property | undefined) => (isVisible(property) ? propertyBody(property) : null);
  const twin = sorted(
    [...keys].map((key): [string, object] => [
      key,
      { last: state(before?.twin.get(key)), current: state(after.twin.get(key)) },
    ]),
  );
  return {
    topic: deviceTopic(after.id, 'twin/update/document'),
    body: { event_id: eventId, timestamp: moment.nowMs, twin },
  };
}

/** What is wanted and not observed; none when all that is wanted is. */
export function deltaReplies(device: Device, moment: Moment): Reply[] {
  const twin: [string, object][] = [];
  const delta: [string, string][] = [];
  for (const [key, property] of device.twin) {
    const wanted = property.type === deletedType ? undefined : property.expected?.value;
    if (wanted === undefined || wanted === '') continue;
    twin.push([key, propertyBody(property)]);
    if (property.actual?.value !== wanted) delta.push([key, wanted]);
  }
  if (delta.length === 0) return [];
  return [
    {
      topic: deviceTopic(device.id, 'twin/update/delta'),
      body: {
        event_id: moment.newEventId(),
        timestamp: moment.nowMs,
        twin: sorted(twin),
        delta: sorted(delta),
      },
    },
  ];
}

export function sorted<T>(entries: Iterable<readonly [string, T]>): Record<string, T> {
  return Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}
