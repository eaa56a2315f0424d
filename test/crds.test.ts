import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { parseYamlDocuments } from '#beehive/yaml.ts';

const folder = new URL('../crds/', import.meta.url).pathname;

const crdSchema = z.looseObject({
  apiVersion: z.literal('apiextensions.k8s.io/v1'),
  kind: z.literal('CustomResourceDefinition'),
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({
    group: z.string(),
    scope: z.enum(['Namespaced', 'Cluster']),
    names: z.looseObject({
      plural: z.string(),
      kind: z.string(),
      shortNames: z.array(z.string()).optional(),
    }),
    versions: z.array(
      z.looseObject({
        name: z.string(),
        subresources: z.looseObject({}).optional(),
        schema: z.looseObject({ openAPIV3Schema: z.looseObject({}) }),
      }),
    ),
  }),
});

async function readCrds() {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.yaml'));
  const documents = await Promise.all(
    files.map(async (file) => parseYamlDocuments(await readFile(join(folder, file), 'utf8'))),
  );
  return documents.flat().map((document) => crdSchema.parse(document));
}

/** Every schema of a structural CRD says its type, at every level. */
function untyped(schema: unknown, path: string): string[] {
  const read = z
    .looseObject({
      type: z.string().optional(),
      'x-kubernetes-int-or-string': z.boolean().optional(),
      properties: z.record(z.string(), z.unknown()).optional(),
      items: z.unknown().optional(),
    })
    .parse(schema);
  return [
    ...(read.type === undefined && read['x-kubernetes-int-or-string'] !== true ? [path] : []),
    ...Object.entries(read.properties ?? {}).flatMap(([name, child]) => untyped(child, `${path}.${name}`)),
    ...(read.items === undefined ? [] : untyped(read.items, `${path}[]`)),
  ];
}

describe('custom resources', () => {
  it("have KubeEdge's names, versions and scopes", async () => {
    const found = (await readCrds()).map(({ metadata, spec }) => [
      metadata.name,
      spec.names.kind,
      spec.scope,
      spec.versions.map(({ name }) => name).join(),
    ]);
    expect(found.sort()).toEqual([
      ['clusterobjectsyncs.reliablesyncs.kubeedge.io', 'ClusterObjectSync', 'Cluster', 'v1alpha1'],
      ['configupdatejobs.operations.kubeedge.io', 'ConfigUpdateJob', 'Cluster', 'v1alpha2'],
      ['devicemodels.devices.kubeedge.io', 'DeviceModel', 'Namespaced', 'v1beta1'],
      ['devices.devices.kubeedge.io', 'Device', 'Namespaced', 'v1beta1'],
      ['devicestatuses.devices.kubeedge.io', 'DeviceStatus', 'Namespaced', 'v1beta1'],
      ['edgeapplications.apps.kubeedge.io', 'EdgeApplication', 'Namespaced', 'v1alpha1'],
      ['imageprepulljobs.operations.kubeedge.io', 'ImagePrePullJob', 'Cluster', 'v1alpha2'],
      ['nodegroups.apps.kubeedge.io', 'NodeGroup', 'Cluster', 'v1alpha1'],
      ['nodeupgradejobs.operations.kubeedge.io', 'NodeUpgradeJob', 'Cluster', 'v1alpha2'],
      ['objectsyncs.reliablesyncs.kubeedge.io', 'ObjectSync', 'Namespaced', 'v1alpha1'],
      ['ruleendpoints.rules.kubeedge.io', 'RuleEndpoint', 'Namespaced', 'v1'],
      ['rules.rules.kubeedge.io', 'Rule', 'Namespaced', 'v1'],
      ['serviceaccountaccesses.policy.kubeedge.io', 'ServiceAccountAccess', 'Namespaced', 'v1alpha1'],
    ]);
  });

  it('have a status subresource only where KubeEdge has one', async () => {
    for (const { spec } of await readCrds()) {
      const hasStatus = spec.versions.some(({ subresources }) => subresources?.status !== undefined);
      expect([spec.names.kind, hasStatus]).toEqual([
        spec.names.kind,
        !['devices.kubeedge.io', 'rules.kubeedge.io'].includes(spec.group),
      ]);
    }
  });

  it('have typed schemas, and short names that clash with nothing', async () => {
    const crds = await readCrds();
    for (const { spec } of crds) {
      for (const { schema } of spec.versions)
        expect(untyped(schema.openAPIV3Schema, spec.names.kind)).toEqual([]);
    }
    const short = crds.flatMap(({ spec }) => spec.names.shortNames ?? []);
    expect(new Set(short).size).toBe(short.length);
  });
});
