/**
 * What a node may, kind by kind: an edge with a real certificate at a real CloudHub, EdgeController and
 * DeviceController says each thing once about what is its own and once about what is another's.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { certificateRows } from '#cloudcore/edgecontroller/upstream-certificates.ts';
import { eventRows } from '#cloudcore/edgecontroller/upstream-events.ts';
import { nodeRows } from '#cloudcore/edgecontroller/upstream-nodes.ts';
import { podRows } from '#cloudcore/edgecontroller/upstream-pods.ts';
import { queryRows } from '#cloudcore/edgecontroller/upstream-queries.ts';
import type { Envelope } from '#protocol/message.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { createTestAuthority } from '#test/certificates.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { ScriptedEdge } from '#test/fixtures/scripted-edge.ts';
import {
  type Case,
  cases,
  core,
  fill,
  forEverybody,
  lease,
  leases,
  statusText,
  uid,
} from '#test/fixtures/two-nodes.ts';

const route = (resource: string, operation: string) => ({
  source: 'edged',
  group: 'meta',
  operation,
  resource,
});

function refusalOf({ route: { operation }, content }: Envelope): string | undefined {
  if (operation === 'error') return String(content);
  const failure = content as {
    Object?: unknown;
    Err?: { ErrStatus?: { reason?: string; message?: string } };
  };
  return failure.Err?.ErrStatus?.reason === 'Forbidden' ? failure.Err.ErrStatus.message : undefined;
}

describe.each(['hawser', 'kubeedge'] as const)('a %s edge', (session) => {
  const transport = new MemoryNetwork({ clock: systemClock, random: seededRandom(1) });
  let cloud: Cloud;
  let edge: ScriptedEdge;
  let table: readonly Case[];

  beforeAll(async () => {
    cloud = await startCloud({ transport });
    await fill(cloud);
    table = cases();
    const identity = await cloud.identity('edge-a');
    edge = await ScriptedEdge.connect({ transport, port: cloud.port, node: 'edge-a', identity, session });
    const { cache } = cloud;
    while (
      !cache.references('edge-a', 'default/secret/secret-a') ||
      cache.get('device', 'default', 'device-b') === undefined
    )
      await systemClock.sleep(5);
    await edge.until(
      () =>
        edge.down.some(({ route: { resource } }) => resource === 'default/pod/pod-a') || session === 'hawser',
    );
    // What CloudHub writes on its Node at connect is no answer to anything here.
    const annotated = async () => {
      const { metadata } = await cloud.api.get({ ...core('nodes'), name: 'edge-a' });
      return metadata.annotations?.cloudcore !== undefined;
    };
    while (!(await annotated())) await systemClock.sleep(5);
  });
  afterAll(async () => {
    await edge?.connection.close();
    await cloud?.close();
  });

  const writes = () =>
    cloud.api.calls.filter((call) =>
      /^(create|createToken|replace|patch|delete) (?!(cluster)?objectsyncs)/.test(call),
    );
  /** Kinds without an answer are followed by one with an answer: a node's messages keep their order. */
  const settled = async () => {
    const id = await edge.say(route('default/secret/unused', 'query'), null);
    await edge.answerTo(id);
  };

  test.each(cases().map(({ kind }) => kind))('%s: its own, and of no other', async (kind) => {
    const row = table.find((one) => one.kind === kind);
    if (row === undefined) throw new Error(kind);
    const operation = kind.split('/')[1] ?? '';
    for (const other of row.others) {
      const before = writes();
      const id = await edge.say(route(other.resource, operation), other.content ?? null);
      if (row.shape === 'none') await settled();
      else {
        const answer = await edge.answerTo(id);
        expect(refusalOf(answer), `${kind} ${other.resource}`).toMatch(/edge-a|may not name/);
        expect(answer.route.operation).toBe(row.shape === 'error' ? 'error' : 'response');
        expect(answer.route).toMatchObject({ group: 'resource', resource: other.resource });
        if (row.shape === 'objectResp') expect(answer.content).toMatchObject({ Object: null });
        expect(JSON.stringify(answer.content)).not.toContain('"spec"');
      }
      expect(writes().slice(before.length), `${kind} ${other.resource}`).toEqual([]);
    }
    const before = writes().length;
    const id = await edge.say(route(row.own.resource, operation), row.own.content ?? null);
    if (row.shape === 'none') {
      await settled();
      expect(writes().length).toBeGreaterThan(before);
      return;
    }
    const answer = await edge.answerTo(id);
    const exists = String(answer.content).endsWith('already exists');
    expect(exists || (answer.route.operation === 'response' && refusalOf(answer) === undefined)).toBe(true);
  });

  test('no kind is without a row here', () => {
    const handled = Object.keys({ ...nodeRows, ...podRows, ...queryRows, ...certificateRows, ...eventRows });
    expect([...table.map(({ kind }) => kind), ...forEverybody].sort()).toEqual(handled.sort());
  });

  test.each(['clusterrole', 'namespace', 'objectsync', '__proto__', 'constructor', 'pod/exec'])(
    'has no business with %s',
    async (type) => {
      const before = writes();
      for (const operation of ['query', 'insert', 'update', 'patch', 'delete']) {
        await edge.say(route(`kube-system/${type}/x`, operation), {});
      }
      await settled();
      expect(writes()).toEqual(before);
    },
  );

  test.each([
    'node/edge-b/default/podpatch/pod-b',
    'node/edge-b/kube-node-lease/lease/edge-b',
    '/',
    '//pod//',
    'a',
  ])('cannot say by the path %s that it is another', async (resource) => {
    const before = writes();
    await edge.say(route(resource, 'patch'), statusText('pod-b'));
    await edge.say(route(resource, 'update'), lease('edge-b'));
    await edge.say(route(resource, 'delete'), { preconditions: { uid: uid('pod-b') } });
    await settled();
    expect(writes()).toEqual(before);
  });

  test.each(['edgecontroller', 'devicecontroller', 'cloudhub', 'synccontroller'])(
    'cannot speak as %s of the cloud',
    async (source) => {
      const before = writes();
      await edge.say(
        { source, group: 'meta', operation: 'patch', resource: 'null/nodepatch/edge-a' },
        '{"status":{}}',
      );
      await settled();
      expect(writes()).toEqual(before);
    },
  );

  test.each([
    ['twin/edge_updated', { twin: { temp: { actual: { value: '1' }, metadata: { type: 'string' } } } }],
    ['state/update', JSON.stringify({ device: { name: 'x', state: 'online' } })],
  ])('%s: of its own devices only', async (what, content) => {
    const twin = (device: string) => ({
      source: 'twin',
      group: 'resource',
      operation: 'update',
      resource: `device/default/${device}/${what}`,
    });
    const before = writes();
    const refused = await edge.answerTo(await edge.say(twin('device-b'), content));
    expect([refused.route.operation, refused.route.group]).toEqual(['error', 'twin']);
    expect(String(refused.content)).toContain('not of this node');
    expect(writes()).toEqual(before);
    const taken = await edge.answerTo(await edge.say(twin('device-a'), content));
    expect([taken.route.operation, taken.route.group, taken.content]).toEqual(['response', 'twin', 'OK']);
    expect(writes().length).toBeGreaterThan(before.length);
  });

  test('membership/detail: it hears of its own devices only', async () => {
    const resource = 'membership/detail';
    const id = await edge.say(
      { source: 'twin', group: 'resource', operation: 'get', resource },
      '{"group_id":"edge-b"}',
    );
    await edge.answerTo(id);
    await edge.until(() => edge.down.some(({ route: { resource: at } }) => at === 'membership'));
    const memberships = JSON.stringify(
      edge.down.filter(({ route: { resource: at } }) => at === 'membership'),
    );
    expect(memberships).toContain('default/device-a');
    expect(memberships).not.toContain('device-b');
  });

  test('session/held: to hold what is another’s brings nothing of it', async () => {
    const objects = ['pod/pod-b', 'secret/secret-b', 'configmap/config-b', 'device/device-b'].map((path) => ({
      path: `default/${path}`,
      uid: uid(path.split('/')[1] ?? ''),
      resourceVersion: '1',
    }));
    await edge.say(
      { source: 'metamanager', group: 'session', operation: 'update', resource: 'session/held' },
      { epoch: null, objects },
    );
    await settled();
    await systemClock.sleep(50);
    const brought = edge.down.filter(({ route: { operation } }) => operation !== 'delete');
    expect(JSON.stringify(brought)).not.toMatch(/"name":"(pod|secret|config|device)-b"/);
  });

  test('nothing of all that has reached another’s objects', async () => {
    const { api } = cloud;
    expect((await api.get({ ...core('pods', 'default'), name: 'pod-b' })).status).toBeUndefined();
    const { metadata } = await api.get({ ...core('nodes'), name: 'edge-b' });
    expect(metadata.labels).toEqual({ 'node-role.kubernetes.io/edge': '' });
    const held = await api.get({ ...leases, name: 'edge-b' });
    expect(held.metadata.resourceVersion).toBe(uid('lease-edge-b-version'));
  });
});

describe('over TLS', () => {
  const transport = createWebSocketTransport({ clock: systemClock });
  let cloud: Cloud;
  const port = () => cloud.port;

  beforeAll(async () => {
    cloud = await startCloud({ transport });
    await fill(cloud);
  });
  afterAll(() => cloud?.close());

  test('the certificate of one node opens no connection as another, and says why', async () => {
    const identity = await cloud.identity('edge-a');
    const as = (node: string) =>
      ScriptedEdge.connect({ transport, port: port(), node, identity, session: 'kubeedge' });
    await expect(as('edge-b')).rejects.toMatchObject({
      detail: {
        code: 'refused',
        status: 403,
        body: expect.stringContaining('the certificate is of node edge-a'),
      },
    });
    const own = await as('edge-a');
    const answer = await own.answerTo(await own.say(route('default/secret/secret-b', 'query'), null));
    expect(refusalOf(answer)).toContain('no pod of node "edge-a" names secret default/secret-b');
    await own.connection.close();
  });

  test('no certificate, one of another CA, an expired one: nowhere', async () => {
    const foreign = await createTestAuthority('CN=KubeEdge');
    const own = await cloud.identity('edge-a');
    const theirs = await foreign.issue('CN=system:node:edge-a,O=system:nodes');
    const expired = await cloud.identity('edge-a', { days: 1, fromMs: Date.now() - 3 * 86_400_000 });
    const withTls = (identity?: typeof own) =>
      ScriptedEdge.connect({
        transport,
        port: port(),
        node: 'edge-a',
        session: 'hawser',
        ...(identity === undefined ? {} : { identity }),
      });
    await expect(withTls()).rejects.toMatchObject({ code: 'unreachable' });
    await expect(withTls({ ...own, cert: theirs.cert, key: theirs.key })).rejects.toMatchObject({
      code: 'unreachable',
    });
    await expect(withTls(expired)).rejects.toMatchObject({ code: 'unreachable' });
    expect((await withTls(own)).connection.peerCertificate).toBeDefined();
  });

  test('the certificate that cloudcore serves with is nobody’s to come with', async () => {
    const { ca } = await cloud.identity('edge-a');
    const cert = await readFile(join(cloud.dir, 'server.crt'), 'utf8');
    const key = await readFile(join(cloud.dir, 'server.key'), 'utf8');
    const options = { transport, port: port(), node: 'edge-a', session: 'hawser' } as const;
    const refused = ScriptedEdge.connect({ ...options, identity: { ca, cert, key } });
    await expect(refused).rejects.toMatchObject({ code: 'unreachable' });
  });
});
