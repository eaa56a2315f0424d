/**
 * Each row of the wire's table of what edges send to EdgeController (wire 4.4), by name: what is sent, what is
 * answered and how, and what is done.
 */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Envelope } from '#protocol/message.ts';
import { type ControllerFixture, startController } from '#test/fixtures/controller.ts';
import { signingRequest } from '#test/fixtures/signing-request.ts';
import { createEdgeController, edgeControllerInbox } from './edgecontroller.ts';
import { certificateRows } from './upstream-certificates.ts';
import { eventRows } from './upstream-events.ts';
import { nodeRows } from './upstream-nodes.ts';
import { podRows } from './upstream-pods.ts';
import { queryRows } from './upstream-queries.ts';

const node = 'edge-1';
const core = (plural: string, namespace?: string) => ({
  apiVersion: 'v1',
  plural,
  ...(namespace === undefined ? {} : { namespace }),
});
const pods = core('pods', 'default');
const nodes = core('nodes');
const events = core('events', 'default');
const leases = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases', namespace: 'kube-node-lease' };
const kubernetesCa = '-----BEGIN CERTIFICATE-----';

let fixture: ControllerFixture;

beforeEach(async () => {
  fixture = await startController('edgecontroller', edgeControllerInbox, (components) =>
    createEdgeController({}, { ...components, kubernetesCa }),
  );
  const { api } = fixture;
  await api.create(core('configmaps', 'default'), { metadata: { name: 'map' }, data: { a: '1' } });
  await api.create(core('secrets', 'default'), { metadata: { name: 'secret' }, data: { a: 'MQ==' } });
  await api.create(core('serviceaccounts', 'default'), { metadata: { name: 'default' } });
  await api.create(core('persistentvolumeclaims', 'default'), { metadata: { name: 'claim' }, spec: {} });
  const claimRef = { namespace: 'default', name: 'claim' };
  await api.create(core('persistentvolumes'), { metadata: { name: 'volume' }, spec: { claimRef } });
  const attachments = { apiVersion: 'storage.k8s.io/v1', plural: 'volumeattachments' };
  await api.create(attachments, { metadata: { name: 'attached' }, spec: { nodeName: node } });
  await api.create(attachments, { metadata: { name: 'elsewhere' }, spec: { nodeName: 'edge-2' } });
  await api.create(pods, {
    metadata: { name: 'web' },
    spec: {
      nodeName: node,
      containers: [
        { name: 'c', envFrom: [{ configMapRef: { name: 'map' } }, { secretRef: { name: 'secret' } }] },
      ],
      volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'claim' } }],
    },
  });
  await fixture.settle();
});
afterEach(() => fixture.close());

const stored = async (ref: Parameters<typeof fixture.api.get>[0]) => await fixture.api.get(ref);
const uidOf = async (name: string) => (await stored({ ...pods, name })).metadata.uid;
const objectResp = (object: object) => ({ Object: object, Err: null });
const edgeNode = { metadata: { name: node, labels: { 'node-role.kubernetes.io/edge': '' } }, status: {} };
const lease = { metadata: { name: node }, spec: { holderIdentity: node, leaseDurationSeconds: 40 } };
const event = {
  metadata: { name: 'e' },
  source: { host: node },
  involvedObject: { kind: 'Pod' },
  reason: 'Started',
};
const mirror = {
  metadata: { name: 'static', annotations: { 'kubernetes.io/config.mirror': 'x' } },
  spec: { nodeName: node, containers: [{ name: 'c' }] },
};

interface Row {
  readonly row: string;
  /** `<type>/<operation>` as in upstream.ts */
  readonly kind: string;
  readonly resource: string;
  readonly before?: () => Promise<unknown>;
  readonly content?: unknown | (() => Promise<unknown>);
  /** Of the answer's content; undefined: there is no answer. */
  readonly answer: unknown;
  readonly source?: string;
  readonly after?: () => Promise<void>;
}

const csr = async () => ({
  metadata: { name: `metaserver-csr-${node}` },
  spec: {
    request: Buffer.from(await signingRequest(`O=system:nodes, CN=system:node:${node}`, [])).toString(
      'base64',
    ),
    signerName: 'kubernetes.io/kubelet-serving',
    usages: ['digital signature', 'key encipherment', 'server auth'],
  },
});
const csrs = { apiVersion: 'certificates.k8s.io/v1', plural: 'certificatesigningrequests' };
const csrPath = `default/certificatesigningrequest/metaserver-csr-${node}`;
const leasePath = `kube-node-lease/lease/${node}`;
const patchOf = (status: object) => async () =>
  JSON.stringify({ metadata: { uid: await uidOf('web') }, status });

const table: readonly Row[] = [
  {
    row: 'register node',
    kind: 'node/insert',
    resource: `null/node/${node}`,
    content: edgeNode,
    answer: objectResp({ kind: 'Node', metadata: { name: node, uid: expect.any(String) } }),
  },
  {
    row: 'node status',
    kind: 'nodepatch/patch',
    resource: `null/nodepatch/${node}`,
    before: async () => await fixture.addNode(node),
    content: '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}',
    answer: objectResp({ kind: 'Node', status: { conditions: [{ type: 'Ready' }] } }),
  },
  {
    row: 'node metadata update',
    kind: 'node/update',
    resource: `null/node/${node}`,
    before: async () => await fixture.addNode(node),
    content: { metadata: { name: node, labels: { a: 'b' }, annotations: { c: 'd' } } },
    answer: 'OK',
    after: async () =>
      expect((await stored({ ...nodes, name: node })).metadata).toMatchObject({
        labels: { a: 'b', 'node-role.kubernetes.io/edge': '' },
        annotations: { c: 'd' },
      }),
  },
  {
    row: 'own node, asked for',
    kind: 'node/query',
    resource: `null/node/${node}`,
    before: async () => await fixture.addNode(node),
    answer: { kind: 'Node', apiVersion: 'v1', metadata: { name: node } },
  },
  {
    row: 'lease get',
    kind: 'lease/query',
    resource: leasePath,
    answer: { Object: null, Err: { ErrStatus: { reason: 'NotFound', code: 404, status: 'Failure' } } },
  },
  {
    row: 'lease create',
    kind: 'lease/insert',
    resource: leasePath,
    content: lease,
    answer: objectResp({ kind: 'Lease', metadata: { resourceVersion: expect.stringMatching(/^\d+$/) } }),
  },
  {
    row: 'lease renew',
    kind: 'lease/update',
    resource: leasePath,
    before: async () => await fixture.api.create(leases, lease),
    content: async () => ({ ...(await stored({ ...leases, name: node })), spec: { renewTime: 'now' } }),
    answer: objectResp({ kind: 'Lease', spec: { renewTime: 'now' } }),
  },
  {
    row: 'pod status',
    kind: 'podpatch/patch',
    resource: 'default/podpatch/web',
    content: patchOf({ phase: 'Running' }),
    answer: objectResp({ kind: 'Pod', spec: { nodeName: node }, status: { phase: 'Running' } }),
  },
  {
    row: 'pod delete',
    kind: 'pod/delete',
    resource: 'default/pod/web',
    content: async () => ({ gracePeriodSeconds: 0, preconditions: { uid: await uidOf('web') } }),
    answer: 'OK',
    after: async () => await expect(uidOf('web')).rejects.toMatchObject({ code: 'notFound' }),
  },
  {
    row: 'pod delete of an old edge: the bare uid',
    kind: 'pod/delete',
    resource: 'default/pod/web',
    content: async () => await uidOf('web'),
    answer: 'OK',
    after: async () =>
      expect((await stored({ ...pods, name: 'web' })).metadata.deletionTimestamp).toBeTruthy(),
  },
  {
    row: 'mirror pod create',
    kind: 'pod/insert',
    resource: 'default/pod/static',
    content: mirror,
    answer: objectResp({ kind: 'Pod', metadata: { name: 'static', namespace: 'default' } }),
  },
  {
    row: 'configmap',
    kind: 'configmap/query',
    resource: 'default/configmap/map',
    answer: { apiVersion: 'v1', kind: 'ConfigMap', data: { a: '1' } },
  },
  {
    row: 'secret',
    kind: 'secret/query',
    resource: 'default/secret/secret',
    answer: { apiVersion: 'v1', kind: 'Secret', data: { a: 'MQ==' } },
  },
  {
    row: 'PV',
    kind: 'persistentvolume/query',
    resource: 'null/persistentvolume/volume',
    answer: { apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: 'volume' } },
  },
  {
    row: 'PVC',
    kind: 'persistentvolumeclaim/query',
    resource: 'default/persistentvolumeclaim/claim',
    answer: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'claim' } },
  },
  {
    row: 'VA',
    kind: 'volumeattachment/query',
    resource: 'default/volumeattachment/attached',
    answer: { apiVersion: 'storage.k8s.io/v1', kind: 'VolumeAttachment', spec: { nodeName: node } },
  },
  {
    row: "VA of another node's",
    kind: 'volumeattachment/query',
    resource: 'default/volumeattachment/elsewhere',
    answer: expect.stringContaining(`is not node "${node}"'s`),
  },
  {
    row: 'SA token',
    kind: 'serviceaccounttoken/query',
    resource: 'default/serviceaccounttoken/default',
    content: async () => ({
      metadata: { creationTimestamp: null },
      spec: {
        audiences: null,
        expirationSeconds: 3607,
        boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'web', uid: await uidOf('web') },
      },
      status: { token: '', expirationTimestamp: null },
    }),
    answer: { status: { token: expect.stringMatching(/./), expirationTimestamp: expect.any(String) } },
  },
  {
    row: 'CSR create',
    kind: 'certificatesigningrequest/insert',
    resource: csrPath,
    content: csr,
    answer: objectResp({ kind: 'CertificateSigningRequest', status: { conditions: [{ type: 'Approved' }] } }),
  },
  {
    row: 'CSR poll',
    kind: 'certificatesigningrequest/query',
    resource: csrPath,
    before: async () =>
      await fixture.api.create(csrs, { ...(await csr()), status: { certificate: 'Y2VydA==' } }),
    answer: { kind: 'CertificateSigningRequest', status: { certificate: 'Y2VydA==' } },
  },
  {
    row: 'k8s CA',
    kind: 'ca.crt/query',
    resource: 'k8s/ca.crt',
    answer: kubernetesCa,
    source: 'cloudhub',
  },
  {
    row: 'event, new',
    kind: 'event/insert',
    resource: 'default/event/e',
    content: event,
    answer: undefined,
    after: async () => expect(await stored({ ...events, name: 'e' })).toMatchObject({ reason: 'Started' }),
  },
  {
    row: 'event, again',
    kind: 'event/update',
    resource: 'default/event/e',
    before: async () => await fixture.api.create(events, event),
    content: { ...event, count: 2 },
    answer: undefined,
    after: async () => expect(await stored({ ...events, name: 'e' })).toMatchObject({ count: 2 }),
  },
  {
    row: 'event, patched',
    kind: 'event/patch',
    resource: 'default/event/e',
    before: async () => await fixture.api.create(events, event),
    content: { event, patchData: '{"count":3}' },
    answer: undefined,
    after: async () => expect(await stored({ ...events, name: 'e' })).toMatchObject({ count: 3 }),
  },
  {
    row: 'legacy pod status',
    kind: 'podstatus/update',
    resource: 'default/podstatus/web',
    content: async () => ({ UID: await uidOf('web'), Name: 'web', Status: { phase: 'Running' } }),
    answer: 'OK',
    after: async () =>
      expect(await stored({ ...pods, name: 'web' })).toMatchObject({ status: { phase: 'Running' } }),
  },
  {
    row: 'legacy pod status, a list, with a pod that is gone: it is to be removed',
    kind: 'podstatus/update',
    resource: 'default/podstatus',
    content: async () => [{ UID: 'u-gone', Name: 'gone', Status: { phase: 'Running' } }],
    answer: 'OK',
    after: async () => expect(fixture.pushes()).toContain(`delete ${node}/default/pod/gone`),
  },
  {
    row: 'legacy node status, new',
    kind: 'nodestatus/insert',
    resource: `default/nodestatus/${node}`,
    content: edgeNode,
    answer: 'OK',
    after: async () => expect(await stored({ ...nodes, name: node })).toBeDefined(),
  },
  {
    row: 'legacy node status',
    kind: 'nodestatus/update',
    resource: `default/nodestatus/${node}`,
    before: async () => await fixture.addNode(node),
    content: { UID: 'u', Status: { phase: 'x' }, ExtendResources: {} },
    answer: 'OK',
    after: async () =>
      expect(await stored({ ...nodes, name: node })).toMatchObject({ status: { phase: 'x' } }),
  },
];

describe('wire 4.4, rows for EdgeController', () => {
  it.each(table.map((row) => [row.row, row] as const))('%s', async (_name, row) => {
    await row.before?.();
    await fixture.settle();
    const content = typeof row.content === 'function' ? await row.content() : (row.content ?? null);
    const operation = row.kind.split('/')[1] ?? '';
    const id = fixture.ask(node, operation, row.resource, content);
    const isAnswer = ({ header }: Envelope) => header.parent_msg_id === id;
    if (row.answer === undefined) {
      await fixture.settle();
      expect(fixture.sent.filter(isAnswer)).toEqual([]);
    } else {
      const answer = await fixture.answerTo(id);
      expect(answer.route).toMatchObject({
        source: row.source ?? 'edgecontroller',
        group: 'resource',
        resource: `node/${node}/${row.resource}`,
      });
      if (typeof row.answer === 'object') expect(answer).toMatchObject({ content: row.answer });
      else expect(answer.content).toEqual(row.answer);
    }
    await row.after?.();
  });

  it('has a case for each kind that is handled', () => {
    const handled = [nodeRows, podRows, queryRows, certificateRows, eventRows].flatMap((rows) =>
      Object.keys(rows),
    );
    expect(new Set(table.map(({ kind }) => kind))).toEqual(new Set(handled));
  });
});
