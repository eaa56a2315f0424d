import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from './errors.ts';
import {
  formatDevicePath,
  formatObjectPath,
  parseDeviceId,
  parseDevicePath,
  parseObjectPath,
  splitNode,
  withNode,
} from './resource-path.ts';

/** A name as Kubernetes allows it, `null` aside: that is the wire's word for no namespace. */
const name = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?$/).filter((text) => text !== 'null');
const objectPath = fc.record({
  namespace: fc.option(name, { nil: undefined }),
  type: name,
  name: fc.option(name, { nil: undefined }),
});

describe('object paths', () => {
  test('come back as they went', () => {
    fc.assert(
      fc.property(objectPath, (path) => {
        expect(parseObjectPath(formatObjectPath(path))).toEqual(path);
      }),
    );
  });

  test('with a node in front, even when everything is called node', () => {
    fc.assert(
      fc.property(fc.oneof(name, fc.constant('node')), objectPath, (node, path) => {
        const text = formatObjectPath(path);
        expect(splitNode(withNode(node, text))).toEqual({ node, path: text });
      }),
    );
  });

  test.each(['', 'pod', '/pod/x', 'default//x', 'default/pod/', 'a/b/c/d', 'node'])(
    'refuses "%s"',
    (text) => {
      expect(() => parseObjectPath(text)).toThrow(ProtocolError);
    },
  );

  test('garbage gives a ProtocolError and nothing else', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const parse of [parseObjectPath, splitNode, parseDeviceId, parseDevicePath]) {
          try {
            parse(text);
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolError);
          }
        }
      }),
    );
  });
});

test('device paths come back as they went', () => {
  const report = fc.constantFrom('twin/edge_updated' as const, 'state/update' as const);
  fc.assert(
    fc.property(fc.record({ namespace: name, name }), report, (device, what) => {
      expect(parseDevicePath(formatDevicePath(device, what))).toEqual({ device, report: what });
    }),
  );
});
