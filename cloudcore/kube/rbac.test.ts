import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { cloudcoreRbac } from './rbac.ts';

const roleSchema = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
  rules: z.array(
    z.strictObject({
      apiGroups: z.array(z.string()),
      resources: z.array(z.string()),
      verbs: z.array(z.string()),
      resourceNames: z.array(z.string()).optional(),
    }),
  ),
});

const roles = cloudcoreRbac()
  .filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role')
  .map((role) => roleSchema.parse(role));
const reading = ['get', 'list', 'watch'];

describe('rights of cloudcore', () => {
  it('has no wildcards, and no rights over roles, tokens of others or impersonation', () => {
    for (const { rules } of roles) {
      for (const { apiGroups, resources, verbs } of rules) {
        expect([...apiGroups, ...resources, ...verbs]).not.toContain('*');
        for (const verb of ['escalate', 'bind', 'impersonate', 'deletecollection'])
          expect(verbs).not.toContain(verb);
        expect(apiGroups).not.toContain('rbac.authorization.k8s.io');
      }
    }
  });

  it('writes secrets in its own namespace only, and configMaps nowhere', () => {
    for (const { metadata, rules } of roles) {
      for (const { resources, verbs } of rules) {
        const writes = verbs.filter((verb) => !reading.includes(verb));
        if (resources.includes('secrets') && metadata.namespace !== 'kubeedge') expect(writes).toEqual([]);
        if (resources.includes('configmaps')) expect(writes).toEqual([]);
      }
    }
  });

  it('writes nodes and pods only where the wire asks for it', () => {
    const verbsOf = (resource: string) =>
      roles.flatMap(({ rules }) => rules).find(({ resources }) => resources.includes(resource))?.verbs;
    expect(verbsOf('nodes')).toEqual(['get', 'list', 'watch', 'create', 'patch']);
    expect(verbsOf('nodes/status')).toEqual(['patch']);
    expect(verbsOf('pods')).toEqual(['list', 'watch', 'create', 'delete']);
    expect(verbsOf('pods/status')).toEqual(['patch']);
  });

  it('keeps leases of nodes, and no others', () => {
    const holders = roles.filter(({ rules }) => rules.some(({ resources }) => resources.includes('leases')));
    expect(
      holders.map(({ metadata, rules }) => [metadata.namespace, rules.flatMap(({ verbs }) => verbs)]),
    ).toEqual([['kube-node-lease', ['get', 'create', 'update', 'patch']]]);
  });

  it('asks and approves certificates of one signer only, and signs none', () => {
    const all = roles
      .flatMap(({ rules }) => rules)
      .filter(({ apiGroups }) => apiGroups.includes('certificates.k8s.io'));
    expect(all).toEqual([
      expect.objectContaining({
        resources: ['certificatesigningrequests'],
        verbs: ['get', 'create', 'delete'],
      }),
      expect.objectContaining({ resources: ['certificatesigningrequests/approval'], verbs: ['update'] }),
      {
        apiGroups: ['certificates.k8s.io'],
        resources: ['signers'],
        verbs: ['approve'],
        resourceNames: ['kubernetes.io/kubelet-serving'],
      },
    ]);
  });

  it('keeps ObjectSyncs, and reads volumes without writing them', () => {
    const rulesOf = (name: string) =>
      roles.flatMap(({ rules }) => rules).filter(({ resources }) => resources.includes(name));
    expect(rulesOf('objectsyncs').map(({ verbs }) => verbs)).toEqual([['list', 'watch', 'create', 'delete']]);
    expect(rulesOf('objectsyncs/status').map(({ verbs }) => verbs)).toEqual([['patch']]);
    for (const name of ['persistentvolumes', 'persistentvolumeclaims', 'volumeattachments'])
      for (const { verbs } of rulesOf(name)) expect(reading).toEqual(expect.arrayContaining(verbs));
  });

  it('binds every role to cloudcore', () => {
    const bindings = cloudcoreRbac().filter(({ kind }) => kind?.endsWith('Binding'));
    expect(bindings).toHaveLength(roles.length);
    for (const { subjects } of bindings) {
      expect(subjects).toEqual([
        { kind: 'ServiceAccount', name: 'cloudcore', namespace: 'kubeedge' },
        { kind: 'User', name: 'system:cloudcore', apiGroup: 'rbac.authorization.k8s.io' },
      ]);
    }
  });
});
