import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ControllerFixture, startController } from '#test/fixtures/controller.ts';
import { createEdgeController, edgeControllerInbox } from './edgecontroller.ts';

const node = 'edge-1';
const core = (plural: string, namespace = 'default') => ({ apiVersion: 'v1', plural, namespace });
const nodes = { apiVersion: 'v1', plural: 'nodes' };
const pods = core('pods');
const secrets = core('secrets');

let fixture: ControllerFixture;

beforeEach(async () => {
  fixture = await startController('edgecontroller', edgeControllerInbox, (components) =>
    createEdgeController({}, components),
  );
});
afterEach(() => fixture.close());

async function ask(operation: string, resource: string, content: unknown = null, from = node) {
  const answer = await fixture.answerTo(fixture.ask(from, operation, resource, content));
  expect(answer.route).toMatchObject({
    source: 'edgecontroller',
    group: 'resource',
    resource: `node/${from}/${resource}`,
  });
  return answer;
}

const reasonOf = (content: unknown) =>
  content !== null && typeof content === 'object' && 'Err' in content
    ? (content as { Err: { ErrStatus: { reason: string } } | null }).Err?.ErrStatus.reason
    : undefined;

async function addPod(name: string, on = node, more = {}) {
  const envFrom = [{ secretRef: { name: 'secret' } }];
  const spec = { nodeName: on, containers: [{ name: 'c', envFrom }], ...more };
  const pod = await fixture.api.create(pods, { metadata: { name }, spec });
  await fixture.settle();
  return pod;
}

describe('EdgeController, up: reports of status', () => {
  const running = JSON.stringify({ status: { phase: 'Running' } });

  async function hold(session: 'hawser' | 'kubeedge') {
    await fixture.addNode(node);
    fixture.connect(node, session);
    if (session === 'hawser') fixture.sayHeld(node, null, []);
    return await addPod('web');
  }

  it('answers an edge of ours with the new version, and since when nothing else has changed', async () => {
    const { name, namespace, uid, resourceVersion: since } = (await hold('hawser')).metadata;
    for (const phase of ['Running', 'Succeeded']) {
      const answer = await ask('patch', 'default/podpatch/web', JSON.stringify({ status: { phase } }));
      const { resourceVersion } = (await fixture.api.get({ ...pods, name: 'web' })).metadata;
      expect(answer.content).toEqual({
        Object: { metadata: { name, namespace, uid, resourceVersion } },
        Err: null,
      });
      expect(answer.header).toMatchObject({ hawserSince: since, resourceversion: resourceVersion });
    }
  });

  it('answers a KubeEdge edge with the whole object', async () => {
    await hold('kubeedge');
    const answer = await ask('patch', 'default/podpatch/web', running);
    expect(answer.header.hawserSince).toBeUndefined();
    expect(answer.content).toMatchObject({ Object: { spec: { nodeName: node } } });
  });

  it('takes a pod that the API has not from a KubeEdge edge which reports it', async () => {
    const report = JSON.stringify({ metadata: { uid: 'u-gone' }, status: { phase: 'Running' } });
    const removals = () => fixture.sent.filter(({ route }) => route.operation === 'delete');
    for (const session of ['hawser', 'kubeedge'] as const) {
      fixture.connect(node, session);
      expect(reasonOf((await ask('patch', 'default/podpatch/gone', report)).content)).toBe('NotFound');
      await fixture.settle();
      if (session === 'hawser') expect(removals()).toEqual([]);
    }
    expect(removals()).toMatchObject([
      { route: { resource: `node/${node}/default/pod/gone` }, content: { metadata: { uid: 'u-gone' } } },
    ]);
  });

  it('answers for a Node as for a pod', async () => {
    await hold('hawser');
    const report = JSON.stringify({ status: { conditions: [{ type: 'Ready', status: 'True' }] } });
    const answer = await ask('patch', `null/nodepatch/${node}`, report);
    expect(answer.header.hawserSince).toBeDefined();
    expect(answer.content).toEqual({
      Object: { metadata: expect.objectContaining({ name: node, uid: expect.any(String) }) },
      Err: null,
    });
  });
});

describe('EdgeController, up: nodes and leases', () => {
  it('registers a node under its own name, without labels that fence nodes in', async () => {
    const labels = { 'node-role.kubernetes.io/edge': '', 'node-restriction.kubernetes.io/x': '1' };
    const answer = await ask('insert', `null/node/${node}`, {
      metadata: { name: 'other', labels },
      status: {},
    });
    expect(answer.route.operation).toBe('response');
    expect(answer.content).toMatchObject({ Object: { kind: 'Node', metadata: { name: node } }, Err: null });
    const { metadata } = await fixture.api.get({ ...nodes, name: node });
    expect(metadata.labels).toEqual({ 'node-role.kubernetes.io/edge': '' });
  });

  it('says AlreadyExists and pushes the node at once', async () => {
    await fixture.addNode(node);
    fixture.connect(node, 'kubeedge');
    await fixture.settle();
    fixture.pushes();
    const answer = await ask('insert', `null/node/${node}`, { metadata: { name: node } });
    expect(answer.content).toMatchObject({
      Object: null,
      Err: { ErrStatus: { status: 'Failure', reason: 'AlreadyExists', code: 409 } },
    });
    await fixture.settle();
    expect(fixture.pushes()).toEqual(['update edge-1/null/node/edge-1']);
  });

  it('merges labels and annotations, and patches status', async () => {
    await fixture.addNode(node);
    const update = { metadata: { name: node, labels: { a: 'b' }, annotations: { c: 'd' } } };
    expect((await ask('update', `null/node/${node}`, update)).content).toBe('OK');
    const patch = JSON.stringify({ status: { conditions: [{ type: 'Ready', status: 'True' }] } });
    const answer = await ask('patch', `null/nodepatch/${node}`, patch);
    expect(answer.content).toMatchObject({
      Object: { metadata: { labels: { a: 'b' } }, status: { conditions: [{ type: 'Ready' }] } },
      Err: null,
    });
    expect(answer.header.resourceversion).toBeTruthy();
  });

  it('answers a lease that is not there with NotFound, creates it, renews it, refuses a stale one', async () => {
    const path = `kube-node-lease/lease/${node}`;
    expect(reasonOf((await ask('query', path)).content)).toBe('NotFound');
    const lease = { metadata: { name: node, namespace: 'kube-node-lease' }, spec: { holderIdentity: node } };
    const made = (await ask('insert', path, lease)).content as { Object: typeof lease };
    expect(made.Object).toMatchObject({ kind: 'Lease', apiVersion: 'coordination.k8s.io/v1' });
    const renewed = { ...made.Object, spec: { holderIdentity: node, renewTime: 'later' } };
    expect((await ask('update', path, renewed)).content).toMatchObject({
      Object: renewed.spec && {},
      Err: null,
    });
    expect(reasonOf((await ask('update', path, renewed)).content)).toBe('Conflict');
  });
});

describe('EdgeController, up: pods', () => {
  it('patches the status of its pod and answers with the whole pod', async () => {
    const pod = await addPod('web');
    const patch = { metadata: { uid: pod.metadata.uid }, status: { phase: 'Running' } };
    const answer = await ask('patch', 'default/podpatch/web', JSON.stringify(patch));
    expect(answer.content).toMatchObject({
      Object: { spec: { nodeName: node }, status: { phase: 'Running' } },
      Err: null,
    });
  });

  it('refuses a status of another pod of the name, and one that is no JSON', async () => {
    await addPod('web');
    const patch = { metadata: { uid: 'old' }, status: { phase: 'Failed' } };
    expect(reasonOf((await ask('patch', 'default/podpatch/web', JSON.stringify(patch))).content)).toBe(
      'Conflict',
    );
    expect(reasonOf((await ask('patch', 'default/podpatch/web', '{no')).content)).toBe('BadRequest');
  });

  it('deletes its pod by uid, and says OK when it is gone or replaced', async () => {
    const pod = await addPod('web');
    const wrong = { gracePeriodSeconds: 0, preconditions: { uid: 'old' } };
    expect((await ask('delete', 'default/pod/web', wrong)).content).toBe('OK');
    expect(await fixture.api.get({ ...pods, name: 'web' })).toBeDefined();
    const right = { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } };
    expect((await ask('delete', 'default/pod/web', right)).content).toBe('OK');
    expect((await ask('delete', 'default/pod/web', right)).content).toBe('OK');
    await expect(fixture.api.get({ ...pods, name: 'web' })).rejects.toMatchObject({ code: 'notFound' });
  });

  it('takes mirror pods of the node, but none that opens secrets', async () => {
    const mirror = (more = {}) => ({
      metadata: { name: 'static', annotations: { 'kubernetes.io/config.mirror': 'x' } },
      spec: { nodeName: node, containers: [{ name: 'c' }], ...more },
    });
    const greedy = mirror({ volumes: [{ name: 'v', secret: { secretName: 'admin' } }] });
    expect(reasonOf((await ask('insert', 'default/pod/static', greedy)).content)).toBe('Forbidden');
    const foreign = mirror({ nodeName: 'edge-2' });
    expect(reasonOf((await ask('insert', 'default/pod/static', foreign)).content)).toBe('Forbidden');
    const adopted = { kind: 'ReplicaSet', apiVersion: 'apps/v1', name: 'web', uid: 'u' };
    const owned = { ...mirror(), metadata: { ...mirror().metadata, ownerReferences: [adopted] } };
    expect(reasonOf((await ask('insert', 'default/pod/static', owned)).content)).toBe('Forbidden');
    expect((await ask('insert', 'default/pod/static', mirror())).content).toMatchObject({ Err: null });
  });
});

describe('EdgeController, up: what pods name', () => {
  it('answers the bare object with its version', async () => {
    const made = await fixture.api.create(secrets, { metadata: { name: 'secret' }, data: { a: 'MQ==' } });
    await addPod('web');
    const answer = await ask('query', 'default/secret/secret');
    expect(answer.route.operation).toBe('response');
    expect(answer.header.resourceversion).toBe(made.metadata.resourceVersion);
    expect(answer.content).toMatchObject({ apiVersion: 'v1', kind: 'Secret', data: { a: 'MQ==' } });
  });

  it('says what is missing as an error text, which no edge stores', async () => {
    await addPod('web');
    const answer = await ask('query', 'default/secret/secret');
    expect(answer.route.operation).toBe('error');
    expect(answer.content).toBe('secrets "secret" not found');
  });

  it('gives tokens for pods of the node only', async () => {
    await fixture.api.create(core('serviceaccounts'), { metadata: { name: 'default' } });
    const pod = await addPod('web');
    const request = (uid: string | undefined) => ({
      metadata: { creationTimestamp: null },
      spec: {
        audiences: null,
        expirationSeconds: 3607,
        boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'web', uid },
      },
    });
    const path = 'default/serviceaccounttoken/default';
    const answer = await ask('query', path, request(pod.metadata.uid));
    expect(answer.content).toMatchObject({ status: { token: expect.any(String) } });
    expect((await ask('query', path, request('other'))).route.operation).toBe('error');
    const foreign = await ask('query', path, request(pod.metadata.uid), 'edge-2');
    expect(foreign.route.operation).toBe('error');
  });

  it('gives a volume whose claim a pod of the node names', async () => {
    const claimRef = { namespace: 'default', name: 'claim' };
    await fixture.api.create(
      { apiVersion: 'v1', plural: 'persistentvolumes' },
      { metadata: { name: 'pv' }, spec: { claimRef } },
    );
    expect((await ask('query', 'null/persistentvolume/pv')).route.operation).toBe('error');
    await addPod('web', node, { volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'claim' } }] });
    expect((await ask('query', 'null/persistentvolume/pv')).content).toMatchObject({
      kind: 'PersistentVolume',
    });
  });
});

describe('EdgeController, up: what a node may not do', () => {
  it('refuses to act for another node', async () => {
    await fixture.addNode('edge-2');
    await fixture.api.create(secrets, { metadata: { name: 'secret' } });
    const pod = await addPod('web', 'edge-2');
    const patch = JSON.stringify({ metadata: { uid: pod.metadata.uid }, status: { phase: 'Failed' } });
    const refused = [
      await ask('insert', 'null/node/edge-2', { metadata: { name: 'edge-2' } }),
      await ask('patch', 'null/nodepatch/edge-2', '{}'),
      await ask('query', 'kube-node-lease/lease/edge-2'),
      await ask('query', 'kube-system/lease/edge-1'),
      await ask('patch', 'default/podpatch/web', patch),
    ];
    for (const { content } of refused) expect(reasonOf(content)).toBe('Forbidden');
    for (const operation of [
      await ask('query', 'default/secret/secret'),
      await ask('delete', 'default/pod/web', { preconditions: { uid: pod.metadata.uid } }),
      await ask('update', 'null/node/edge-2', { metadata: { name: 'edge-2' } }),
    ]) {
      expect(operation.route.operation).toBe('error');
      expect(operation.content).toMatch(/node "edge-1"|edge-1/);
    }
    expect(await fixture.api.get({ ...pods, name: 'web' })).toBeDefined();
  });

  it('takes events about itself and its pods, under its own name as source', async () => {
    const event = (host: string, about = { kind: 'Pod', name: 'web', namespace: 'default' }) => ({
      metadata: { name: 'e', namespace: 'default' },
      involvedObject: about,
      source: { component: 'edged', host },
    });
    fixture.ask(node, 'insert', 'default/event/forged', event('edge-2'));
    fixture.ask(node, 'insert', 'default/event/real', event(node));
    await fixture.settle();
    const { items } = await fixture.api.list(core('events'));
    expect(items.map(({ metadata }) => metadata.name)).toEqual(['real']);
    fixture.ask('edge-2', 'update', 'default/event/real', { ...event('edge-2'), reason: 'taken over' });
    await fixture.settle();
    expect((await fixture.api.get({ ...core('events'), name: 'real' })).reason).toBeUndefined();
  });
});

describe('EdgeController, up: when things fail', () => {
  it('never answers with an empty error', async () => {
    fixture.memory.failNext((verb) => verb === 'get', 'unreachable', 'connection refused');
    const answer = await ask('query', `kube-node-lease/lease/${node}`);
    expect(answer.content).toMatchObject({
      Object: null,
      Err: { ErrStatus: { reason: 'InternalError', message: 'connection refused', code: 500 } },
    });
  });

  it('answers kinds that it does not know, so that nobody waits', async () => {
    expect((await ask('query', 'default/gadget/x')).route.operation).toBe('error');
    expect(reasonOf((await ask('insert', 'default/gadget/x', {})).content)).toBe('MethodNotAllowed');
  });

  it('keeps the order of one node and lets others pass', async () => {
    await fixture.addNode(node);
    await fixture.addNode('edge-2');
    const ids = [
      fixture.ask(node, 'update', `null/node/${node}`, { metadata: { name: node, labels: { n: '1' } } }),
      fixture.ask(node, 'update', `null/node/${node}`, { metadata: { name: node, labels: { n: '2' } } }),
    ];
    fixture.ask('edge-2', 'patch', 'null/nodepatch/edge-2', '{}');
    for (const id of ids) await fixture.answerTo(id);
    expect((await fixture.api.get({ ...nodes, name: node })).metadata.labels?.n).toBe('2');
  });
});
