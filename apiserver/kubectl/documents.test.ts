import { describe, expect, it } from 'vitest';
import { builtInResources } from '../builtin-resources.ts';
import { type JsonValue, textAt, valueAt } from '../kube-object.ts';
import { Registry } from '../registry.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { chooseRendering } from './accept.ts';
import { discoveryDocument } from './discovery.ts';
import { openApiV2 } from './openapi-v2.ts';
import { createOpenApiV3 } from './openapi-v3.ts';

const device: ResourceDefinition = {
  group: 'devices.example.io',
  version: 'v1',
  kind: 'Device',
  listKind: 'DeviceList',
  plural: 'devices',
  singular: 'device',
  shortNames: ['dv'],
  categories: ['all'],
  namespaced: true,
  verbs: ['get', 'list', 'create', 'patch'],
  subresources: [{ name: 'status', kind: 'Device', verbs: ['get'] }],
  schema: { type: 'object', properties: { spec: { type: 'object', description: 'wanted' } } },
  storage: 'devices.example.io/devices',
  custom: true,
};

function registry(): Registry {
  const made = new Registry(builtInResources);
  made.setCustom('devices.devices.example.io', [device]);
  return made;
}

const aggregated = (version: string) =>
  `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList,application/json`;

describe('discovery', () => {
  it('lists groups and resources for older clients', () => {
    expect(discoveryDocument(registry(), '/api', 'application/json')?.body).toMatchObject({
      kind: 'APIVersions',
      versions: ['v1'],
    });
    const groups = valueAt(discoveryDocument(registry(), '/apis', undefined)?.body, 'groups');
    expect(groups).toContainEqual({
      name: 'apps',
      versions: [{ groupVersion: 'apps/v1', version: 'v1' }],
      preferredVersion: { groupVersion: 'apps/v1', version: 'v1' },
    });
    expect(discoveryDocument(registry(), '/api/v1', undefined)?.body.resources).toContainEqual({
      name: 'pods/eviction',
      singularName: '',
      namespaced: true,
      group: 'policy',
      version: 'v1',
      kind: 'Eviction',
      verbs: ['create'],
    });
    expect(
      discoveryDocument(registry(), '/apis/devices.example.io/v1', undefined)?.body.resources,
    ).toMatchObject([
      { name: 'devices', shortNames: ['dv'], categories: ['all'] },
      { name: 'devices/status' },
    ]);
    expect(discoveryDocument(registry(), '/apis/apps', undefined)?.body).toMatchObject({
      kind: 'APIGroup',
      name: 'apps',
    });
  });

  it.each(['v2', 'v2beta1'])('aggregates as %s', (version) => {
    const core = discoveryDocument(registry(), '/api', aggregated(version));
    expect(core?.contentType).toBe(
      `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
    );
    expect(core?.body).toMatchObject({
      apiVersion: `apidiscovery.k8s.io/${version}`,
      items: [{ metadata: {} }],
    });
    const custom = JSON.stringify(discoveryDocument(registry(), '/apis', aggregated(version))?.body);
    expect(custom).toContain('"responseKind":{"group":"devices.example.io","version":"v1","kind":"Device"}');
  });

  it('answers plainly to a version it does not know', () => {
    expect(discoveryDocument(registry(), '/apis', aggregated('v9'))?.body.kind).toBe('APIGroupList');
  });

  it.each(['/apis/none', '/apis/apps/v9', '/api/v9', '/api/v1/pods', '/version', '/apis/'])(
    'has nothing at %s',
    (path) => {
      expect(discoveryDocument(registry(), path, undefined)).toBeUndefined();
    },
  );
});

describe('the form of answers', () => {
  it.each([
    [undefined, { kind: 'object' }],
    ['*/*', { kind: 'object' }],
    ['application/json;as=Table;v=v1;g=meta.k8s.io,application/json', { kind: 'table', version: 'v1' }],
    ['application/json;as=Table;v=v9;g=meta.k8s.io,application/json', { kind: 'object' }],
    ['application/vnd.kubernetes.protobuf,application/json', { kind: 'object' }],
    [
      'application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json',
      { kind: 'metadata', version: 'v1' },
    ],
    ['application/vnd.kubernetes.protobuf', undefined],
  ])('%s', (accept, expected) => {
    expect(chooseRendering(accept)).toEqual(expected);
  });
});

/** All references of a document that lead nowhere. */
function danglingRefs(document: JsonValue): string[] {
  const text = JSON.stringify(document);
  const names = Object.keys(
    Object(valueAt(document, 'components', 'schemas') ?? valueAt(document, 'definitions')),
  );
  return [...text.matchAll(/"\$ref":"#\/(?:components\/schemas|definitions)\/([^"]+)"/g)].flatMap(
    ([, name = '']) => (names.includes(name) ? [] : name),
  );
}

describe('OpenAPI 3', () => {
  const openApi = createOpenApiV3(registry());
  const document = (path: string): JsonValue => JSON.parse(openApi.document(path) ?? 'null');

  it('indexes each group version by hash', () => {
    expect(openApi.index()).toMatchObject({
      paths: {
        'api/v1': { serverRelativeURL: expect.stringMatching(/^\/openapi\/v3\/api\/v1\?hash=[0-9A-F]{64}$/) },
      },
    });
    expect(openApi.document('apis/none/v1')).toBeUndefined();
  });

  it('says per kind which patches and parameters it takes', () => {
    const patchOf = (path: string, url: string) => valueAt(document(path), 'paths', url, 'patch');
    const pod = patchOf('api/v1', '/api/v1/namespaces/{namespace}/pods/{name}');
    expect(pod).toMatchObject({
      'x-kubernetes-group-version-kind': { group: '', version: 'v1', kind: 'Pod' },
    });
    expect(valueAt(pod, 'parameters')).toContainEqual(expect.objectContaining({ name: 'fieldValidation' }));
    const strategic = 'application/strategic-merge-patch+json';
    expect(valueAt(pod, 'requestBody', 'content')).toHaveProperty([strategic]);
    const custom = patchOf(
      'apis/devices.example.io/v1',
      '/apis/devices.example.io/v1/namespaces/{namespace}/devices/{name}',
    );
    expect(valueAt(custom, 'requestBody', 'content')).not.toHaveProperty([strategic]);
  });

  it('carries merge keys and descriptions', () => {
    const container = valueAt(
      document('api/v1'),
      'components',
      'schemas',
      'io.k8s.api.core.v1.PodSpec',
      'properties',
      'containers',
    );
    expect(container).toMatchObject({
      'x-kubernetes-patch-merge-key': 'name',
      'x-kubernetes-patch-strategy': 'merge',
      'x-kubernetes-list-map-keys': ['name'],
      description: expect.stringContaining('Containers'),
    });
    const custom = valueAt(
      document('apis/devices.example.io/v1'),
      'components',
      'schemas',
      'io.example.devices.v1.Device',
    );
    expect(textAt(custom, 'properties', 'spec', 'description')).toBe('wanted');
  });

  it('refers only to what it has', () => {
    const own = registry();
    for (const { group, versions } of own.groups()) {
      for (const version of versions) {
        const path = group === '' ? `api/${version}` : `apis/${group}/${version}`;
        expect(danglingRefs(document(path)), path).toEqual([]);
      }
    }
  });

  it('follows the table of resources', () => {
    const own = registry();
    const changing = createOpenApiV3(own);
    expect(changing.document('apis/devices.example.io/v1')).toBeDefined();
    own.removeCustom('devices.devices.example.io');
    expect(changing.document('apis/devices.example.io/v1')).toBeUndefined();
  });
});

describe('OpenAPI 2', () => {
  it('is empty for who wants protobuf and complete as JSON', () => {
    const protobuf = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
    expect(openApiV2(registry(), protobuf)).toEqual({ contentType: 'application/octet-stream', body: '' });
    const document: JsonValue = JSON.parse(openApiV2(registry(), 'application/json').body);
    expect(danglingRefs(document)).toEqual([]);
    expect(
      valueAt(document, 'definitions', 'io.k8s.api.core.v1.Pod', 'x-kubernetes-group-version-kind'),
    ).toEqual([{ group: '', version: 'v1', kind: 'Pod' }]);
  });
});
