/**
 * EdgeController and DeviceController with the rights of cloudcore, and no more, on a real API: that of
 * HAWSER_TEST_KUBECONFIG. The custom resources and roles are applied as keadm applies them.
 */

import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RunningServer } from '#apiserver/testing/running-server.ts';
import { parseYamlDocuments } from '#beehive/yaml.ts';
import {
  createDeviceController,
  deviceControllerInbox,
} from '#cloudcore/devicecontroller/devicecontroller.ts';
import { createEdgeController, edgeControllerInbox } from '#cloudcore/edgecontroller/edgecontroller.ts';
import { createKubeApi, type KubeClient } from '#cloudcore/kube/client.ts';
import { isAlreadyExists, isNotFound } from '#cloudcore/kube/kube-api.ts';
import { readKubeconfig } from '#cloudcore/kube/kubeconfig.ts';
import { cloudcoreRbac } from '#cloudcore/kube/rbac.ts';
import { syncLimits } from '#cloudcore/synccontroller/synccontroller.ts';
import { edgeRoleLabel } from '#protocol/names.ts';
import { type KubeObject, kubeObjectSchema } from '#protocol/resources/object.ts';
import { type ControllerFixture, startController } from '#test/fixtures/controller.ts';
import { signingRequest } from '#test/fixtures/signing-request.ts';
import { describeUnless, needsCluster } from '../describe-unless.ts';

const kubeconfig = process.env.HAWSER_TEST_KUBECONFIG;
const plurals: Readonly<Record<string, string>> = {
  ServiceAccount: 'serviceaccounts',
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
  Role: 'roles',
  RoleBinding: 'rolebindings',
  CustomResourceDefinition: 'customresourcedefinitions',
};

async function apply(api: KubeClient, object: KubeObject): Promise<void> {
  const { apiVersion = '', kind = '', metadata } = object;
  const ref = { apiVersion, plural: plurals[kind] ?? '', namespace: metadata.namespace, name: metadata.name };
  await api.patch(ref, 'apply', object, { fieldManager: 'test', force: true });
}

async function create(
  api: KubeClient,
  plural: string,
  object: object,
  namespace?: string,
  apiVersion = 'v1',
) {
  try {
    await api.create({ apiVersion, plural, namespace }, object);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

/** A kubeconfig of cloudcore's service account. */
async function asCloudcore(admin: KubeClient, adminConfig: string, dir: string): Promise<string> {
  const { server, tls } = await readKubeconfig(adminConfig);
  const token = await admin.createToken(
    { namespace: 'kubeedge', name: 'cloudcore' },
    { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', metadata: {}, spec: { audiences: [] } },
  );
  const file = join(dir, 'cloudcore.conf');
  const status = token.status as { token: string };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'c',
    clusters: [
      {
        name: 'c',
        cluster: { server, 'certificate-authority-data': Buffer.from(tls.ca ?? '').toString('base64') },
      },
    ],
    users: [{ name: 'c', user: { token: status.token } }],
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'c' } }],
  };
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

interface OpenApi {
  /** Of an administrator. */
  readonly config: string;
  readonly close: () => Promise<void>;
}

const apis: readonly { name: string; missing: string | undefined; open: () => Promise<OpenApi> }[] = [
  {
    name: 'the embedded API',
    missing: undefined,
    async open() {
      const server = await RunningServer.start();
      return { config: join(server.dataDir, 'admin.conf'), close: () => server.close() };
    },
  },
  {
    name: 'a real API',
    missing: needsCluster,
    open: async () => ({ config: kubeconfig ?? '', close: async () => {} }),
  },
];

for (const { name: apiName, missing, open } of apis)
  describeUnless(missing, `controllers on ${apiName}, with the rights of cloudcore`, () => {
    const id = randomUUID().slice(0, 8);
    const namespace = `controllers-${id}`;
    const node = `edge-${id}`;
    const core = (plural: string) => ({ apiVersion: 'v1', plural, namespace });
    const device = (plural: string) => ({ apiVersion: 'devices.kubeedge.io/v1beta1', plural, namespace });
    let dir: string;
    let opened: OpenApi;
    let admin: KubeClient;
    let api: KubeClient;
    let edge: ControllerFixture<KubeClient>;
    let devices: ControllerFixture<KubeClient>;

    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'hawser-controllers-'));
      opened = await open();
      admin = await createKubeApi(opened.config);
      const crds = new URL('../../crds/', import.meta.url).pathname;
      for (const file of await readdir(crds)) {
        for (const crd of parseYamlDocuments(await readFile(join(crds, file), 'utf8'))) {
          await apply(admin, kubeObjectSchema.parse(crd));
        }
      }
      for (const name of ['kubeedge', namespace]) await create(admin, 'namespaces', { metadata: { name } });
      await create(admin, 'serviceaccounts', { metadata: { name: 'default' } }, namespace);
      for (const object of cloudcoreRbac()) await apply(admin, object);
      api = await createKubeApi(await asCloudcore(admin, opened.config, dir));
      edge = await startController(
        'edgecontroller',
        edgeControllerInbox,
        (c) => createEdgeController({}, c),
        api,
      );
      devices = await startController(
        'devicecontroller',
        deviceControllerInbox,
        (c) => createDeviceController({}, c),
        api,
      );
    });

    afterAll(async () => {
      await edge?.close();
      await devices?.close();
      await admin?.delete({ apiVersion: 'v1', plural: 'nodes', name: node }).catch((error) => {
        if (!isNotFound(error)) throw error;
      });
      await admin?.delete({ apiVersion: 'v1', plural: 'namespaces', name: namespace });
      api?.close();
      admin?.close();
      await opened?.close();
      await rm(dir, { recursive: true });
    });

    const ask = async (operation: string, resource: string, content: unknown = null) =>
      await edge.answerTo(edge.ask(node, operation, resource, content));
    const pushed = (push: string) =>
      edge.until((sent) => sent.some(({ route }) => `${route.operation} ${route.resource}` === push));

    it('registers a node, keeps its lease, patches its status', async () => {
      const registered = await ask('insert', `null/node/${node}`, {
        metadata: { name: node, labels: { [edgeRoleLabel]: '' } },
        spec: {},
        status: { capacity: { cpu: '4' } },
      });
      expect(registered.content).toMatchObject({
        Object: { kind: 'Node', metadata: { name: node } },
        Err: null,
      });
      const path = `kube-node-lease/lease/${node}`;
      expect((await ask('query', path)).content).toMatchObject({
        Err: { ErrStatus: { reason: 'NotFound' } },
      });
      const lease = { metadata: { name: node }, spec: { holderIdentity: node, leaseDurationSeconds: 40 } };
      const made = (await ask('insert', path, lease)).content as { Object: KubeObject };
      expect((await ask('update', path, made.Object)).content).toMatchObject({ Err: null });
      const ready = { type: 'Ready', status: 'True', reason: 'EdgeReady' };
      const patched = await ask(
        'patch',
        `null/nodepatch/${node}`,
        JSON.stringify({ status: { conditions: [ready] } }),
      );
      expect(patched.content).toMatchObject({ Object: { metadata: { name: node } }, Err: null });
    });

    it('brings a pod and what it names down, its status up, and takes it away', async () => {
      edge.connect(node, 'hawser');
      const held = await edge.answerTo(edge.sayHeld(node, null, []));
      expect(held.content).toMatchObject({ epoch: edge.cache.epoch });
      await admin.create(core('secrets'), { metadata: { name: 'secret' }, data: { key: 'MQ==' } });
      const made = await admin.create(core('pods'), {
        metadata: { name: 'web' },
        spec: {
          nodeName: node,
          tolerations: [{ operator: 'Exists' }],
          containers: [{ name: 'c', image: 'none', envFrom: [{ secretRef: { name: 'secret' } }] }],
        },
      });
      await pushed(`update node/${node}/${namespace}/pod/web`);
      await pushed(`update node/${node}/${namespace}/secret/secret`);
      expect(await edge.cache.read({ namespace, type: 'secret', name: 'secret' })).toMatchObject({
        data: { key: 'MQ==' },
      });
      expect((await ask('query', `${namespace}/secret/secret`)).content).toMatchObject({ kind: 'Secret' });
      expect((await ask('query', `kube-system/secret/secret`)).route.operation).toBe('error');
      const token = await ask('query', `${namespace}/serviceaccounttoken/default`, {
        metadata: { creationTimestamp: null },
        spec: {
          audiences: null,
          expirationSeconds: 3607,
          boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'web', uid: made.metadata.uid },
        },
      });
      await isTokenOf(`system:serviceaccount:${namespace}:default`, token.content);
      const request = token.content as { spec: { boundObjectRef: object } };
      expect(request.spec.boundObjectRef).toMatchObject({ kind: 'Pod', name: 'web', uid: made.metadata.uid });
      const ofAnother = { spec: { boundObjectRef: { kind: 'Pod', name: 'web', uid: 'another' } } };
      const refused = await ask('query', `${namespace}/serviceaccounttoken/default`, ofAnother);
      expect(refused.route.operation).toBe('error');
      const patch = { metadata: { uid: made.metadata.uid }, status: { phase: 'Running' } };
      const patched = await ask('patch', `${namespace}/podpatch/web`, JSON.stringify(patch));
      const { uid } = made.metadata;
      expect(patched.content).toMatchObject({ Object: { metadata: { name: 'web', uid } }, Err: null });
      expect(await admin.get({ ...core('pods'), name: 'web' })).toMatchObject({
        status: { phase: 'Running' },
      });
      const options = { gracePeriodSeconds: 0, preconditions: { uid: made.metadata.uid } };
      expect((await ask('delete', `${namespace}/pod/web`, options)).content).toBe('OK');
      await pushed(`delete node/${node}/${namespace}/pod/web`);
      await pushed(`delete node/${node}/${namespace}/secret/secret`);
      // A projected token dies with its pod.
      await isTokenOf(undefined, token.content);
    });

    /** The API itself says whose token it is. */
    async function isTokenOf(user: string | undefined, content: unknown): Promise<void> {
      const { status } = content as { status: { token: string; expirationTimestamp: string } };
      expect(Date.parse(status.expirationTimestamp)).toBeGreaterThan(Date.now());
      const reviews = { apiVersion: 'authentication.k8s.io/v1', plural: 'tokenreviews' };
      const review = {
        apiVersion: reviews.apiVersion,
        kind: 'TokenReview',
        metadata: {},
        spec: { token: status.token },
      };
      const said = async () => {
        const answer = await admin.create(reviews, review);
        return (answer.status as { user?: { username?: string } }).user?.username;
      };
      await expect.poll(said).toBe(user);
    }

    it('keeps ObjectSyncs of what a KubeEdge edge is sent, and removes them', async () => {
      const path = { namespace, type: 'secret', name: 'noted' };
      const own = { namespace: undefined, type: 'node', name: node };
      const uid = randomUUID();
      const syncs = { apiVersion: 'reliablesyncs.kubeedge.io/v1alpha1', plural: 'objectsyncs', namespace };
      await edge.ledger.intend(node, path, uid);
      await edge.ledger.intend(node, own, uid);
      edge.ledger.acknowledged(node, path, uid, '77');
      const statusOf = async () => {
        await edge.clock.advance(syncLimits.writeEveryMs);
        return (await admin.get({ ...syncs, name: `${node}.${uid}` })).status;
      };
      await expect.poll(statusOf).toEqual({ objectResourceVersion: '77' });
      edge.ledger.removed(node, path, uid);
      edge.ledger.removed(node, own, uid);
      await expect.poll(async () => (await admin.list(syncs)).items.length).toBe(0);
    });

    it('asks, approves and fetches the certificate of a MetaServer', async () => {
      const name = `metaserver-csr-${node}`;
      const pem = await signingRequest(`O=system:nodes, CN=system:node:${node}`, ['127.0.0.1']);
      const spec = {
        request: Buffer.from(pem).toString('base64'),
        signerName: 'kubernetes.io/kubelet-serving',
        usages: ['digital signature', 'key encipherment', 'server auth'],
      };
      const asked = async () =>
        await ask('insert', `default/certificatesigningrequest/${name}`, { metadata: { name }, spec });
      const approved = { status: { conditions: [{ type: 'Approved' }] } };
      expect((await asked()).content).toMatchObject({ Object: approved, Err: null });
      // An edge that starts again asks again.
      expect((await asked()).content).toMatchObject({ Object: approved, Err: null });
      expect((await ask('query', `default/certificatesigningrequest/${name}`)).content).toMatchObject({
        kind: 'CertificateSigningRequest',
        ...approved,
      });
      await admin.delete({
        apiVersion: 'certificates.k8s.io/v1',
        plural: 'certificatesigningrequests',
        name,
      });
    });

    it('reads volumes and what they are attached to', async () => {
      const attachment = await ask('query', `default/volumeattachment/none-${id}`);
      expect(attachment.content).toMatch(/not found/);
      await expect
        .poll(() => edge.cache.isSynced('persistentvolume') && edge.cache.isSynced('persistentvolumeclaim'))
        .toBe(true);
    });

    it('reports events', async () => {
      const event = {
        metadata: { name: 'e1', namespace },
        involvedObject: { kind: 'Pod', name: 'web', namespace },
        source: { component: 'edged', host: node },
        reason: 'Started',
      };
      edge.ask(node, 'insert', `${namespace}/event/e1`, event);
      await ask('query', `kube-node-lease/lease/${node}`);
      expect(await admin.get({ ...core('events'), name: 'e1' })).toMatchObject({ reason: 'Started' });
    });

    it('brings a device down and its first value up', async () => {
      devices.connect(node, 'hawser');
      devices.sayHeld(node, null, []);
      await admin.create(device('devicemodels'), {
        apiVersion: 'devices.kubeedge.io/v1beta1',
        kind: 'DeviceModel',
        metadata: { name: 'thermo' },
        spec: { properties: [{ name: 'temp', type: 'INT', accessMode: 'ReadWrite' }] },
      });
      await admin.create(device('devices'), {
        apiVersion: 'devices.kubeedge.io/v1beta1',
        kind: 'Device',
        metadata: { name: 'thermo-1' },
        spec: {
          deviceModelRef: { name: 'thermo' },
          nodeName: node,
          properties: [{ name: 'temp', desired: { value: '20' } }],
          protocol: { protocolName: 'modbus', configData: { any: { thing: [1] } } },
        },
      });
      await devices.until((sent) => sent.some(({ route }) => route.resource.endsWith('/device/thermo-1')));
      const report = {
        source: 'twin',
        group: 'resource',
        operation: 'update',
        resource: `device/${namespace}/thermo-1/twin/edge_updated`,
      };
      const twin = {
        temp: { actual: { value: '21', metadata: { timestamp: 5 } }, metadata: { type: 'int' } },
      };
      const answer = await devices.answerTo(devices.say(node, report, { event_id: 'e', timestamp: 1, twin }));
      expect(answer.content).toBe('OK');
      const status = await admin.get({ ...device('devicestatuses'), name: 'thermo-1' });
      expect(status.status).toEqual({
        twins: [
          { propertyName: 'temp', reported: { value: '21', metadata: { timestamp: '5', type: 'int' } } },
        ],
      });
      expect(status.metadata.ownerReferences).toMatchObject([{ kind: 'Device', name: 'thermo-1' }]);
    });

    it('refuses devices that do not fit their schema', async () => {
      const model = {
        apiVersion: 'devices.kubeedge.io/v1beta1',
        kind: 'DeviceModel',
        metadata: { name: 'wrong' },
        spec: { properties: [{ name: 'x', type: 'INTEGER' }] },
      };
      await expect(admin.create(device('devicemodels'), model)).rejects.toMatchObject({ code: 'invalid' });
    });
  });
