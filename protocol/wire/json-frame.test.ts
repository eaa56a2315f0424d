import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../errors.ts';
import { frameLimits } from '../limits.ts';
import { type Envelope, newEnvelope } from '../message.ts';
import { decodeFrame, encodeFrame } from './json-frame.ts';

const route = { source: 'edged', group: 'meta', operation: 'update', resource: 'default/pod/x' };

function frame(content: string): string {
  return `{"header":{"msg_id":"a","timestamp":1},"route":${JSON.stringify(route)},"content":${content}}`;
}

function nested(depth: number): string {
  return '['.repeat(depth) + ']'.repeat(depth);
}

describe('encodeFrame', () => {
  test('is one line, with a content even when there is none', () => {
    const text = encodeFrame(newEnvelope(route, undefined));
    expect(text.endsWith('\n')).toBe(true);
    expect(text.trimEnd()).not.toContain('\n');
    expect(JSON.parse(text)).toHaveProperty('content', null);
  });

  test('refuses what the peer would have to refuse', () => {
    const limits = { bytesMax: 1_000, depthMax: 10 };
    const large = newEnvelope(route, 'ä'.repeat(500));
    expect(() => encodeFrame(large, limits)).toThrow(expect.objectContaining({ code: 'frame-too-large' }));
  });

  test('refuses what is not JSON, and names the message', () => {
    const odd = newEnvelope(route, 12n);
    expect(() => encodeFrame(odd)).toThrow(/default\/pod\/x/);
  });
});

describe('decodeFrame', () => {
  test.each([
    ['nothing', ''],
    ['no JSON', 'hello'],
    ['no object', '[]'],
    ['null', 'null'],
    ['half a frame', frame('{}').slice(0, -5)],
    ['no route', '{"header":{"msg_id":"a","timestamp":1},"content":1}'],
    ['a number as id', '{"header":{"msg_id":1},"route":{},"content":1}'],
  ])('refuses %s', (_what, text) => {
    expect(() => decodeFrame(text)).toThrow(expect.objectContaining({ code: 'malformed-frame' }));
  });

  test('reads a route without its empty texts, as Go writes them', () => {
    const text =
      '{"header":{"msg_id":"a","timestamp":1},"route":{"source":"servicebus","group":"user"},"content":1}';
    expect(decodeFrame(text).route).toEqual({
      source: 'servicebus',
      group: 'user',
      operation: '',
      resource: '',
    });
  });

  test('bounds bytes, counted as they are on the wire', () => {
    const limits = { bytesMax: 400, depthMax: 10 };
    expect(() => decodeFrame(frame(`"${'x'.repeat(200)}"`), limits)).not.toThrow();
    expect(() => decodeFrame(frame(`"${'€'.repeat(200)}"`), limits)).toThrow(
      expect.objectContaining({ code: 'frame-too-large' }),
    );
  });

  test('bounds depth, however deep', () => {
    expect(() => decodeFrame(frame(nested(frameLimits.depthMax - 1)))).not.toThrow();
    expect(() => decodeFrame(frame(nested(frameLimits.depthMax)))).toThrow(/too deep/);
    expect(() => decodeFrame(frame(nested(1_000_000)))).toThrow(ProtocolError);
  });

  test.each(['__proto__', '\\u005f_proto__'])('drops the key %s and keeps the rest', (key) => {
    const { content } = decodeFrame(frame(`{"data":{"${key}":{"admin":true},"constructor":"kept"}}`));
    expect(content).toStrictEqual({ data: JSON.parse('{"constructor":"kept"}') });
    expect(JSON.stringify(content)).not.toContain('admin');
    expect({}).not.toHaveProperty('admin');
  });

  test('an empty parent is no parent, a missing time is zero', () => {
    const text = '{"header":{"msg_id":"a","parent_msg_id":""},"route":ROUTE,"content":null}';
    const { header } = decodeFrame(text.replace('ROUTE', JSON.stringify(route)));
    expect(header).toStrictEqual({ msg_id: 'a', timestamp: 0 });
  });

  test('keys that we do not know survive a relay', () => {
    const text =
      '{"header":{"msg_id":"a","timestamp":1,"sync":false},"route":ROUTE,"content":{"x":1},"extra":[1]}'.replace(
        'ROUTE',
        JSON.stringify({ ...route, destination: 'd' }),
      );
    expect(JSON.parse(encodeFrame(decodeFrame(text)))).toEqual(JSON.parse(text));
  });

  test('a version stays a string, digit for digit', () => {
    const text =
      '{"header":{"msg_id":"a","timestamp":1,"resourceversion":"18446744073709551615"},"route":R,"content":null}';
    const { header } = decodeFrame(text.replace('R', JSON.stringify(route)));
    expect(header.resourceversion).toBe('18446744073709551615');
  });
});

const envelopes: fc.Arbitrary<Envelope> = fc.record(
  {
    header: fc.record(
      {
        msg_id: fc.string(),
        parent_msg_id: fc.string({ minLength: 1 }),
        timestamp: fc.nat(),
        resourceversion: fc.string(),
      },
      { requiredKeys: ['msg_id', 'timestamp'], noNullPrototype: true },
    ),
    route: fc.record(
      {
        source: fc.string(),
        group: fc.string(),
        operation: fc.string(),
        resource: fc.string({ unit: 'binary' }),
      },
      { noNullPrototype: true },
    ),
    content: fc.jsonValue({ noUnicodeString: false }),
  },
  { noNullPrototype: true },
);

describe('any frame', () => {
  test('what was encoded decodes to the same', () => {
    fc.assert(
      fc.property(envelopes, (envelope) => {
        const expected = JSON.parse(JSON.stringify(envelope));
        const back = decodeFrame(encodeFrame(envelope));
        expect(JSON.stringify(back)).toEqual(JSON.stringify(withoutProto(expected)));
      }),
    );
  });

  test('garbage and cut frames give a ProtocolError and nothing else', () => {
    const cut = fc.tuple(envelopes, fc.double({ min: 0, max: 0.999, noNaN: true })).map(([envelope, at]) => {
      const text = encodeFrame(envelope);
      return text.slice(0, Math.floor((text.length - 1) * at));
    });
    fc.assert(
      fc.property(fc.oneof(cut, fc.string(), fc.json()), (text) => {
        try {
          decodeFrame(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });
});

function withoutProto(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), function (this: unknown, key: string, item: unknown) {
    return key === '__proto__' ? undefined : item;
  });
}
