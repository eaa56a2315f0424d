import { describe, expect, it } from 'vitest';
import { newEnvelope, type Route } from '#protocol/message.ts';
import { dispatchDown, dispatchUp } from './dispatcher.ts';

function up(route: Partial<Route>, parentId?: string) {
  const whole = {
    source: 'edged',
    group: 'meta',
    operation: 'patch',
    resource: 'default/podpatch/a',
    ...route,
  };
  const envelope = newEnvelope(whole, 'content', parentId === undefined ? {} : { parentId });
  return dispatchUp(envelope, 'edge-1', 'hawser');
}

function down(route: Partial<Route>, parentId?: string) {
  const whole = { source: 'edgecontroller', group: 'resource', operation: 'update', resource: '', ...route };
  return dispatchDown(newEnvelope(whole, undefined, parentId === undefined ? {} : { parentId }));
}

describe('dispatchUp', () => {
  it('puts the node of the certificate in front, whatever the edge wrote', () => {
    expect(up({})).toMatchObject({
      kind: 'forward',
      to: ['edgecontroller'],
      envelope: { route: { resource: 'node/edge-1/default/podpatch/a' } },
    });
    expect(up({ resource: 'node/edge-2/default/pod/a' })).toMatchObject({
      envelope: { route: { resource: 'node/edge-1/node/edge-2/default/pod/a' } },
    });
  });

  it('tells twin, session and the rest apart', () => {
    const twin = { source: 'twin', group: 'resource', resource: 'device/default/d/twin/edge_updated' };
    expect(up(twin)).toMatchObject({ kind: 'forward', to: ['devicecontroller'] });
    const held = { source: 'metamanager', group: 'session', operation: 'update', resource: 'session/held' };
    expect(up(held)).toMatchObject({
      kind: 'forward',
      to: ['edgecontroller', 'devicecontroller', 'router'],
    });
    const kubeedge = dispatchUp(newEnvelope({ ...held }, {}), 'edge-1', 'kubeedge');
    expect(kubeedge).toEqual({ kind: 'dropped', reason: 'malformed' });
    expect(up({ source: 'metamanager', operation: 'query', resource: 'k8s/ca.crt' })).toMatchObject({
      kind: 'forward',
      to: ['edgecontroller'],
    });
  });

  it('knows acknowledgements by operation and parent, whoever they name as source', () => {
    const route = { source: 'edgecontroller', group: 'resource' };
    expect(up({ ...route, operation: 'response' }, 'm1')).toEqual({ kind: 'acknowledged', messageId: 'm1' });
    expect(up({ ...route, operation: 'error' }, 'm1')).toEqual({ kind: 'refused', messageId: 'm1' });
    expect(up({ ...route, operation: 'response' })).toEqual({ kind: 'dropped', reason: 'malformed' });
    expect(up({ operation: 'keepalive', resource: 'node' })).toEqual({ kind: 'keepalive' });
  });

  it('hands to the router what edges say to rules, answers of ServiceBus too', () => {
    const user = { group: 'user', operation: 'upload' };
    expect(up({ ...user, source: 'bus', resource: 'default/a' })).toMatchObject({
      kind: 'forward',
      to: ['router'],
      envelope: { route: { resource: 'node/edge-1/default/a' } },
    });
    const answer = { ...user, source: 'servicebus', resource: '' };
    for (const operation of ['upload', '']) {
      expect(up({ ...answer, operation }, 'm1')).toMatchObject({
        to: ['router'],
        envelope: { route: { resource: 'node/edge-1/' } },
      });
    }
    const published = { group: 'user', source: 'router_eventbus', operation: 'response', resource: 't' };
    expect(up(published, 'm1')).toMatchObject({ to: ['router'] });
    const dropped = { kind: 'dropped', reason: 'malformed' };
    expect(up(answer)).toEqual(dropped);
    expect(up({ ...user, source: 'edged' })).toEqual(dropped);
    expect(up({ ...user, source: 'bus', operation: 'publish' })).toEqual(dropped);
    expect(up({ ...user, source: 'bus', resource: 'x'.repeat(3000) })).toEqual(dropped);
  });

  it('drops what claims to come from the cloud, and what no module is there for', () => {
    for (const source of ['edgecontroller', 'devicecontroller', 'cloudhub', 'cloudStream', 'synccontroller'])
      expect(up({ source, operation: 'update' })).toEqual({ kind: 'dropped', reason: 'forged-source' });
    expect(up({ source: 'bus', group: 'hub', operation: 'upgrade', resource: 'a/b' })).toEqual({
      kind: 'dropped',
      reason: 'no-module',
    });
    expect(up({ resource: '' })).toEqual({ kind: 'dropped', reason: 'malformed' });
    expect(up({ resource: 'x'.repeat(3000) })).toEqual({ kind: 'dropped', reason: 'malformed' });
  });
});

describe('dispatchDown', () => {
  it('trims the node and tells objects from one-shot messages', () => {
    expect(down({ resource: 'node/edge-1/default/pod/a' })).toMatchObject({
      kind: 'object',
      node: 'edge-1',
      envelope: { route: { resource: 'default/pod/a' } },
    });
    expect(down({ resource: 'node/edge-1/default/pod/a', operation: 'response' }, 'm1')).toMatchObject({
      kind: 'oneShot',
      envelope: { route: { resource: 'default/pod/a' } },
    });
    expect(down({ resource: 'node/edge-1/membership', group: 'twin' })).toMatchObject({ kind: 'oneShot' });
  });

  it('is not misled by a name that looks like another kind (wire 11.15)', () => {
    const resource = 'node/edge-1/membership/pod/podlist';
    expect(down({ resource })).toMatchObject({ kind: 'object' });
  });

  it('ends the session of a deleted Node, and only of that', () => {
    const deleted = { operation: 'delete', resource: 'node/edge-1/null/node/edge-1' };
    expect(down(deleted)).toEqual({ kind: 'nodeDeleted', node: 'edge-1' });
    expect(down({ operation: 'delete', resource: 'node/edge-1/default/pod/edge-1' })).toMatchObject({
      kind: 'object',
    });
    expect(() => down({ resource: 'default/pod/a' })).toThrow(/no node/);
  });
});
