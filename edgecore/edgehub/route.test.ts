import { expect, test } from 'vitest';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { routeOf } from './route.ts';

const frame = (group: string, parentId?: string, operation = 'update', source = 'edgecontroller'): Envelope =>
  newEnvelope({ source, group, operation, resource: 'r' }, null, parentId === undefined ? {} : { parentId });

test.each([
  ['resource', undefined, 'metamanager'],
  ['func', undefined, 'metamanager'],
  ['session', undefined, 'metamanager'],
  ['twin', undefined, 'twin'],
  ['user', undefined, undefined],
  ['taskmanager', undefined, undefined],
  ['resource', '', 'metamanager'],
  ['resource', 'p', undefined],
  ['user', 'p', undefined],
  ['twin', 'p', 'twin'],
])('group %s with parent %s goes to %s', (group, parent, to) => {
  expect(routeOf(frame(group, parent))).toEqual({ answers: parent === 'p', to });
});

test('a cloud cannot send news of the link', () => {
  expect(routeOf(frame('resource', undefined, 'connect')).to).toBeUndefined();
  expect(routeOf(frame('resource', undefined, 'update', 'edgehub')).to).toBeUndefined();
});

test.each([
  ['router_eventbus', undefined, 'eventbus'],
  ['router_servicebus', undefined, 'servicebus'],
  ['router_servicebus', 'p', undefined],
  ['router_x', undefined, undefined],
])('what a rule sends as %s goes to its bus', (source, parent, to) => {
  expect(routeOf(frame('user', parent, 'publish', source)).to).toBe(to);
});
