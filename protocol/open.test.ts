import { describe, expect, test } from 'vitest';
import { ProtocolError } from './errors.ts';
import { type Envelope, newEnvelope } from './message.ts';
import { compose, kindOf, open, openFromNode } from './open.ts';

const resourceRoute = { source: 'edgecontroller', group: 'resource', operation: 'update', resource: '' };

function at(resource: string, content: unknown, route: Partial<typeof resourceRoute> = {}): Envelope {
  return newEnvelope({ ...resourceRoute, ...route, resource }, content);
}

const pod = { metadata: { name: 'membership', namespace: 'default' }, spec: { containers: [] } };

describe('kinds go by position, not by what a name contains', () => {
  test.each([
    ['default/pod/membership', 'pod/update'],
    ['membership/pod/detail', 'pod/update'],
    ['device/pod/twin', 'pod/update'],
    ['default/configmap/podlist', 'configmap/update'],
    ['membership', 'membership/update'],
    ['device/default/thermo/twin/edge_updated', 'devicetwin/update'],
    ['device/default/thermo/state/update', 'devicestate/update'],
    ['default/device/thermo', 'device/update'],
    ['default/service/web', undefined],
    ['default/constructor/x', undefined],
    ['__proto__/__proto__/__proto__', undefined],
    ['', undefined],
    ['/', undefined],
    ['a/b/c/d', undefined],
  ])('%s', (resource, kind) => {
    expect(kindOf(at(resource, {}))).toBe(kind);
  });

  test('a HTTP call of a rule is no topic', () => {
    const call = { source: 'router_servicebus', group: 'user', operation: 'publish' };
    expect(kindOf(at('8080:/x', '', call))).toBe('servicebus/call');
    expect(kindOf(at('x/y', '', { ...call, source: 'router_eventbus' }))).toBe('topic/publish');
  });
});

describe('open', () => {
  test('gives content and path of their types', () => {
    const message = open(at('default/pod/membership', pod));
    expect(message).toMatchObject({ kind: 'pod/update', path: { namespace: 'default', type: 'pod' } });
    if (message.kind === 'pod/update') expect(message.content.spec.containers).toEqual([]);
  });

  test('an unknown kind is given back, not refused', () => {
    const envelope = at('default/service/web', { anything: true });
    expect(open(envelope)).toEqual({ kind: 'unknown', envelope });
  });

  test('a content that does not fit says where', () => {
    const broken = { metadata: { name: 7 }, spec: { containers: 'none' } };
    expect(() => open(at('default/pod/x', broken))).toThrow(
      expect.objectContaining({
        code: 'malformed-content',
        detail: expect.objectContaining({
          kind: 'pod/update',
          issues: [expect.stringContaining('metadata.name'), expect.stringContaining('spec.containers')],
        }),
      }),
    );
  });

  test('text that should hold JSON and does not', () => {
    const report = at('device/default/x/state/update', 'not json', { source: 'twin' });
    expect(() => open(report)).toThrow(expect.objectContaining({ code: 'malformed-content' }));
  });

  test('a pod deletion means one thing upwards and another downwards', () => {
    const up = { source: 'edged', group: 'meta', operation: 'delete' };
    const options = { gracePeriodSeconds: 0, preconditions: { uid: 'u' } };
    expect(open(at('default/pod/x', options, up)).kind).toBe('pod/delete-request');
    expect(open(at('default/pod/x', 'bare-uid', up)).kind).toBe('pod/delete-request');
    const skeleton = { metadata: { name: 'x', namespace: 'default', uid: 'u' } };
    expect(open(at('default/pod/x', skeleton, { operation: 'delete' })).kind).toBe('pod/delete');
  });

  test('answers of a KubeEdge cloud to a failed query are told apart from objects', () => {
    const answer = { operation: 'response' };
    for (const failure of [{}, { ErrStatus: { reason: 'NotFound', code: 404 } }]) {
      const message = open(at('default/configmap/x', failure, answer));
      expect(message.kind === 'configmap/response' && !('metadata' in message.content)).toBe(true);
    }
    const found = open(at('default/configmap/x', { metadata: { name: 'x' }, data: {} }, answer));
    expect(found.kind === 'configmap/response' && 'metadata' in found.content).toBe(true);
  });

  test('the cloud form names the node', () => {
    const { node, message } = openFromNode(at('node/edge-1/default/pod/x', pod));
    expect([node, message.kind]).toEqual(['edge-1', 'pod/update']);
    expect(() => openFromNode(at('default/pod/x', pod))).toThrow(ProtocolError);
  });
});

test('compose writes the form that open reads', () => {
  const content = { event_id: 'e', timestamp: 1, device: { name: 'x', state: 'ok' } };
  const route = {
    source: 'twin',
    group: 'resource',
    operation: 'update',
    resource: 'device/default/x/state/update',
  };
  const envelope = compose('devicestate/update', route, content);
  expect(typeof envelope.content).toBe('string');
  expect(open(envelope)).toMatchObject({
    kind: 'devicestate/update',
    device: { namespace: 'default', name: 'x' },
    content,
  });
});
