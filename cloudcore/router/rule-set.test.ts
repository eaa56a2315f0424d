import { describe, expect, it } from 'vitest';
import type { KubeObject } from '#protocol/resources/object.ts';
import { planRules } from './rule-set.ts';

const endpoint = (name: string, ruleEndpointType: string, properties?: object): KubeObject => ({
  metadata: { name, namespace: 'default' },
  spec: { ruleEndpointType, ...(properties === undefined ? {} : { properties }) },
});
const endpoints = [
  endpoint('cloud', 'rest', {}),
  endpoint('mqtt', 'eventbus'),
  endpoint('app', 'servicebus', { service_port: '8080' }),
  endpoint('portless', 'servicebus'),
  endpoint('far', 'servicebus', { service_port: '65536' }),
  { ...endpoint('elsewhere', 'rest'), metadata: { name: 'elsewhere', namespace: 'other' } },
];

const rule = (name: string, from: [string, object], to: [string, object], createdAt = '1'): KubeObject => ({
  metadata: { name, namespace: 'default', creationTimestamp: createdAt },
  spec: { source: from[0], sourceResource: from[1], target: to[0], targetResource: to[1] },
});
const faultOf = (object: KubeObject, others: KubeObject[] = []) =>
  planRules([...others, object], endpoints).faults.get(`default/${object.metadata.name}`);

const call = (name: string, path = '/a', createdAt = '1') =>
  rule(name, ['cloud', { path }], ['app', { path: '/api' }], createdAt);
const url = { resource: 'http://x.example/in' };

describe('rules', () => {
  it('make routes for the four ways', () => {
    const set = planRules(
      [
        call('call', '/a/{x}'),
        rule('say', ['cloud', { path: 'b' }], ['mqtt', { topic: 't' }]),
        rule('collect', ['mqtt', { topic: '/s/+//t', node_name: 'edge-1' }], ['cloud', url]),
        rule('ask', ['app', { target_url: 'http://y', node_name: 'edge-1' }], ['cloud', url]),
      ],
      endpoints,
    );
    expect(set.faults).toEqual(new Map());
    expect(set.rest.map(({ rule: key, target }) => [key, target])).toEqual([
      ['default/call', { kind: 'servicebus', port: 8080, path: '/api' }],
      ['default/say', { kind: 'eventbus', topic: 't' }],
    ]);
    expect(set.uploads.get('edge-1')).toMatchObject([{ filter: 'default/s/+/t' }]);
    expect(set.asks.get('edge-1')).toMatchObject([{ asked: 'http://y' }]);
  });

  it.each([
    [rule('r', ['nobody', { path: '/a' }], ['app', { path: '/' }]), 'no RuleEndpoint "nobody"'],
    [rule('r', ['elsewhere', { path: '/a' }], ['app', { path: '/' }]), 'no RuleEndpoint "elsewhere"'],
    [rule('r', ['cloud', { path: '/a' }], ['cloud', url]), 'no rule leads from rest to rest'],
    [rule('r', ['app', { target_url: 'u', node_name: 'n' }], ['mqtt', { topic: 't' }]), 'no rule leads'],
    [rule('r', ['mqtt', { topic: 't', node_name: 'n' }], ['app', { path: '/' }]), 'no rule leads'],
    [rule('r', ['cloud', { topic: 't' }], ['app', { path: '/' }]), 'sourceResource needs the key path'],
    [rule('r', ['cloud', { path: '/a' }], ['app', { topic: 't' }]), 'targetResource needs the key path'],
    [rule('r', ['cloud', { path: '/a' }], ['portless', { path: '/' }]), 'service_port'],
    [rule('r', ['cloud', { path: '/a' }], ['far', { path: '/' }]), 'service_port'],
    [rule('r', ['cloud', { path: '/a' }], ['app', { path: '/x?y' }]), 'no query'],
    [rule('r', ['cloud', { path: '/a' }], ['mqtt', { topic: 'a/#' }]), 'no wildcards'],
    [rule('r', ['mqtt', { topic: 't' }], ['cloud', url]), 'needs the key node_name'],
    [rule('r', ['mqtt', { topic: 'a/#/b', node_name: 'n' }], ['cloud', url]), 'not a topic filter'],
    [rule('r', ['mqtt', { topic: 't', node_name: 'A b' }], ['cloud', url]), 'not the name of a node'],
    [
      rule('r', ['mqtt', { topic: 't', node_name: 'n' }], ['cloud', { resource: 'file:///x' }]),
      'not an http',
    ],
    [{ metadata: { name: 'r', namespace: 'default' }, spec: { source: 7 } }, 'spec needs source'],
    [{ metadata: { name: 'r', namespace: 'default' }, spec: null }, 'spec needs source'],
  ])('%# that cannot work says why', (object, why) => {
    expect(faultOf(object)).toContain(why);
  });

  it('leave to the oldest what two want, and to each namespace its own', () => {
    const [old, young] = [call('z-old', '/a/{id}', '1'), call('a-young', '/a/{other}/', '2')];
    expect(faultOf(young, [old])).toContain('is the source of rule default/z-old already');
    expect(faultOf(old, [young])).toBeUndefined();
    const listening = (name: string, topic: string) =>
      rule(name, ['mqtt', { topic, node_name: 'edge-1' }], ['cloud', url]);
    expect(faultOf(listening('two', '/t'), [listening('one', 't')])).toContain('already');
    const leaving = { ...old, metadata: { ...old.metadata, deletionTimestamp: 'now' } };
    expect(faultOf(young, [leaving])).toBeUndefined();
  });
});
