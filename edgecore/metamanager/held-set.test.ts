import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Envelope, newEnvelope, reply, replyError } from '#protocol/message.ts';
import { type Cloud, object, pod, type Rig, TestRigs, tokenAnswer, tokenRequest } from './test-rig.ts';

let rigs: TestRigs;
beforeEach(() => {
  rigs = new TestRigs();
});
afterEach(() => rigs.end());
const start = (cloud: Cloud) => rigs.start(cloud);

describe('the session with a cloud of ours', () => {
  const connect = (rig: Rig, ours: boolean) => {
    const route = { source: 'edgehub', group: 'resource', operation: 'connect', resource: 'node/connection' };
    const news = newEnvelope(route, 'cloud_connected');
    if (ours) news.header.hawserSession = true;
    rig.bus.send('metamanager', news);
  };
  const isHeld = (up: Envelope) => up.route.resource === 'session/held';

  test('tells what is held, without tokens, and keeps the epoch that is its own', async () => {
    const rig = start((up) =>
      isHeld(up)
        ? reply(up, { epoch: 'e1', accepted: 'unknown' })
        : up.route.operation === 'query'
          ? reply(up, tokenAnswer(3600))
          : undefined,
    );
    await rig.down('update', 'default/pod/web', pod('u1', '10'));
    await rig.ask('query', 'default/serviceaccounttoken/default', tokenRequest('u1'));
    const first = rig.next('edgehub', isHeld);
    connect(rig, true);
    expect((await first).route).toEqual({
      source: 'metamanager',
      group: 'session',
      operation: 'update',
      resource: 'session/held',
    });
    expect((await first).content).toEqual({
      epoch: 'unknown',
      objects: [{ path: 'default/pod/web', uid: 'u1', resourceVersion: '10' }],
      topics: [],
      urls: [],
    });
    const second = rig.next('edgehub', isHeld);
    // The epoch is stored by a commit after the answer; a downstream message is stored behind it.
    await rig.down('update', 'default/other/x', object('default/other/x', 'x', '1'));
    connect(rig, true);
    expect((await second).content).toMatchObject({ epoch: 'e1' });
  });

  test('takes the epoch of another cluster only when an operator has accepted the move from its own', async () => {
    let answer: object = { epoch: 'e1' };
    const rig = start((up) => (isHeld(up) ? reply(up, answer) : undefined));
    const epochSaid = async () => {
      const said = rig.next('edgehub', isHeld);
      connect(rig, true);
      const { content } = await said;
      // What the answer says is stored before what comes behind it.
      await rig.down('update', 'default/other/x', object('default/other/x', 'x', '1'));
      return (content as { epoch: string | null }).epoch;
    };
    expect(await epochSaid()).toBeNull();
    answer = { epoch: 'e2' };
    expect(await epochSaid()).toBe('e1');
    answer = { epoch: 'e2', accepted: 'e0' };
    expect(await epochSaid()).toBe('e1');
    answer = { epoch: 'e2', accepted: 'e1' };
    expect(await epochSaid()).toBe('e1');
    expect(await epochSaid()).toBe('e2');
  });

  test.each([
    ['its first cloud', [], { epoch: 'e1' }, 'e1'],
    ['a cloud that does not know the objects of a KubeEdge cloud', ['u1'], { epoch: 'e1' }, 'unknown'],
    ['a cloud that knows them', ['u1'], { epoch: 'e1', accepted: 'unknown' }, 'e1'],
  ])('tells %s', async (_, uids, told, epoch) => {
    const rig = start((up) => (isHeld(up) ? reply(up, told) : undefined));
    for (const uid of uids) await rig.down('update', 'default/pod/web', pod(uid, '10'));
    const first = rig.next('edgehub', isHeld);
    connect(rig, true);
    await first;
    const second = rig.next('edgehub', isHeld);
    await rig.down('update', 'default/other/x', object('default/other/x', 'x', '1'));
    connect(rig, true);
    expect((await second).content).toMatchObject({ epoch });
  });

  test('follows an operator to another cluster', async () => {
    let told: object = { epoch: 'e1' };
    const rig = start((up) => (isHeld(up) ? reply(up, told) : undefined));
    const connected = async () => {
      const said = rig.next('edgehub', isHeld);
      connect(rig, true);
      const { content } = await said;
      await rig.down('update', 'default/other/x', object('default/other/x', 'x', '1'));
      return content;
    };
    expect(await connected()).toMatchObject({ epoch: null });
    told = { epoch: 'e2' };
    expect(await connected()).toMatchObject({ epoch: 'e1' });
    told = { epoch: 'e2', accepted: 'e1' };
    expect(await connected()).toMatchObject({ epoch: 'e1' });
    expect(await connected()).toMatchObject({ epoch: 'e2' });
  });

  test('tells again until the cloud takes it', async () => {
    let refusals = 2;
    const rig = start((up) =>
      isHeld(up) && refusals-- > 0 ? replyError(up, 'not ready') : reply(up, { epoch: 'e1' }),
    );
    const first = rig.next('edgehub', isHeld);
    connect(rig, true);
    await first;
    const second = rig.next('edgehub', isHeld);
    await rig.clock.advance(0);
    await rig.clock.advance(1_000);
    await second;
    const third = rig.next('edgehub', isHeld);
    await rig.clock.advance(0);
    await rig.clock.advance(2_000);
    await third;
  });

  test('says nothing of it to a KubeEdge cloud', async () => {
    const rig = start(() => undefined);
    connect(rig, false);
    await rig.down('update', 'default/pod/web', pod('u1', '10'));
    expect(rig.got.edgehub.filter(isHeld)).toEqual([]);
  });
});
