import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  deviceTopic,
  fixedSubscriptions,
  isLocalTopic,
  isTopicFilter,
  parseLocalTopic,
  topicMatches,
} from './topics.ts';

describe('topics of clients', () => {
  const table: [string, ReturnType<typeof parseLocalTopic>][] = [
    ['$hw/events/device/default/thermo/twin/get', { kind: 'twin/get', device: 'default/thermo' }],
    ['$hw/events/device/default/thermo/twin/update', { kind: 'twin/update', device: 'default/thermo' }],
    ['$hw/events/device/default/thermo/state/update', { kind: 'state/update', device: 'default/thermo' }],
    [
      '$hw/events/device/default/thermo/twin/cloud_updated',
      { kind: 'twin/cloud_updated', device: 'default/thermo' },
    ],
    ['$hw/events/device/device/events/twin/get', { kind: 'twin/get', device: 'device/events' }],
    ['$hw/events/device/e/hw/state/update', { kind: 'state/update', device: 'e/hw' }],
    ['$hw/events/node/edge-1/membership/get', { kind: 'membership/get', node: 'edge-1' }],
    ['$hw/events/node/node/membership/get', { kind: 'membership/get', node: 'node' }],
    ['$hw/events/device/default/thermo/twin/update/result', undefined],
    ['$hw/events/device/default/thermo/twin', undefined],
    ['$hw/events/device/default/thermo', undefined],
    ['$hw/events/device', undefined],
    ['$hw/events', undefined],
    ['$hw/events/device//thermo/twin/get', undefined],
    ['$hw/events/node/edge-1/membership/get/result', undefined],
    ['$hw/events/connected/edge-1', undefined],
    ['', undefined],
  ];
  test.each(table)('%s', (topic, meaning) => {
    expect(parseLocalTopic(topic)).toEqual(meaning);
  });

  test('belong to the edge by their path, not by a prefix of it', () => {
    expect(isLocalTopic('$hw/events/device/a/b/twin/get')).toBe(true);
    expect(isLocalTopic('$hw/events/devices/a')).toBe(false);
    expect(isLocalTopic('$hw/events/upload/x')).toBe(false);
  });
});

describe('subscriptions', () => {
  const table: [string, string, boolean][] = [
    ['a/b', 'a/b', true],
    ['a/+', 'a/b', true],
    ['a/+', 'a/b/c', false],
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['#', '$hw/events', false],
    ['+/events', '$hw/events', false],
    ['$hw/#', '$hw/events', true],
    ['a', 'a/b', false],
    ['a/b', 'a', false],
    ['+', '', true],
  ];
  test.each(table)('%s takes %s: %s', (filter, topic, taken) => {
    expect(topicMatches(filter, topic)).toBe(taken);
  });

  test('do not take the edge’s own answers', () => {
    const answers = ['$hw/events/device/a/b/twin/update/result', '$hw/events/node/n/membership/updated'];
    for (const topic of answers) {
      expect(fixedSubscriptions.some((filter) => topicMatches(filter, topic))).toBe(false);
    }
  });

  test.each([
    ['a/b', true],
    ['+/a/#', true],
    ['', false],
    ['a#', false],
    ['a/#/b', false],
    ['a+/b', false],
    ['a\0b', false],
  ])('%j may be one: %s', (text, may) => {
    expect(isTopicFilter(text)).toBe(may);
  });
});

describe('any topic', () => {
  const name = fc.oneof(
    fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?$/),
    fc.constantFrom('device', 'events', 'hw', 'e', 'twin', 'update', 'node', 'state'),
  );
  const request = fc.constantFrom('state/update', 'twin/get', 'twin/update', 'twin/cloud_updated');

  test('of a device comes back as it went, whatever the device is called', () => {
    fc.assert(
      fc.property(name, name, request, (namespace, device, kind) => {
        const id = `${namespace}/${device}`;
        expect(parseLocalTopic(deviceTopic(id, kind))).toEqual({ kind, device: id });
        expect(fixedSubscriptions.some((filter) => topicMatches(filter, deviceTopic(id, kind)))).toBe(true);
      }),
    );
  });

  test('is read without an error', () => {
    const piece = fc.oneof(fc.string(), fc.constantFrom('$hw', 'events', 'device', 'node', '+', '#', ''));
    const topic = fc.array(piece, { maxLength: 9 }).map((pieces) => pieces.join('/'));
    fc.assert(
      fc.property(topic, topic, (filter, text) => {
        parseLocalTopic(text);
        isLocalTopic(text);
        expect(topicMatches(text.replaceAll(/[#+]/g, 'x'), text.replaceAll(/[#+]/g, 'x'))).toBe(true);
        topicMatches(filter, text);
        isTopicFilter(filter);
      }),
    );
  });
});
