import { describe, expect, it } from 'vitest';
import { builtInResources } from '../builtin-resources.ts';
import type { JsonObject, KubeObject } from '../kube-object.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { ageOf, humanDuration } from './human-duration.ts';
import { findAll, parseJsonPath } from './json-path.ts';
import { partialMetadataList, renderTable } from './table.ts';

const nowMs = Date.UTC(2026, 0, 1, 1);

function definition(kind: string, group = ''): ResourceDefinition {
  const found = builtInResources.find((each) => each.kind === kind && each.group === group);
  if (found === undefined) throw new Error(`no ${kind}`);
  return found;
}

function object(kind: string, rest: JsonObject, metadata: JsonObject = {}): KubeObject {
  const base = { name: 'x', creationTimestamp: '2026-01-01T00:00:00Z' };
  return { apiVersion: 'v1', kind, ...rest, metadata: { ...base, ...metadata } };
}

/** Printed cells by column; those only shown by -o wide in brackets. */
function row(of: ResourceDefinition, item: KubeObject): Record<string, unknown> {
  const table = renderTable(of, [item], { nowMs });
  const columns = table.columnDefinitions as { name: string; priority: number }[];
  const [first] = table.rows as { cells: unknown[] }[];
  return Object.fromEntries(
    columns.map(({ name, priority }, i) => [priority > 0 ? `[${name}]` : name, first?.cells[i]]),
  );
}

describe('tables', () => {
  it('shows nodes', () => {
    const node = object(
      'Node',
      {
        spec: { unschedulable: true },
        status: {
          conditions: [{ type: 'Ready', status: 'True' }],
          addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
          nodeInfo: {
            kubeletVersion: 'v1.30.0',
            osImage: 'Debian',
            kernelVersion: '6.1',
            containerRuntimeVersion: 'process://1',
          },
        },
      },
      { labels: { 'node-role.kubernetes.io/edge': '', 'node-role.kubernetes.io/agent': '' } },
    );
    expect(row(definition('Node'), node)).toEqual({
      Name: 'x',
      Status: 'Ready,SchedulingDisabled',
      Roles: 'agent,edge',
      Age: '60m',
      Version: 'v1.30.0',
      '[Internal-IP]': '10.0.0.1',
      '[External-IP]': '<none>',
      '[OS-Image]': 'Debian',
      '[Kernel-Version]': '6.1',
      '[Container-Runtime]': 'process://1',
    });
  });

  it('shows pods', () => {
    const pod = object('Pod', {
      spec: { nodeName: 'edge', containers: [{ name: 'a' }] },
      status: {
        phase: 'Running',
        podIP: '10.1.1.1',
        containerStatuses: [{ ready: true, state: { running: {} } }],
      },
    });
    expect(row(definition('Pod'), pod)).toEqual({
      Name: 'x',
      Ready: '1/1',
      Status: 'Running',
      Restarts: '0',
      Age: '60m',
      '[IP]': '10.1.1.1',
      '[Node]': 'edge',
      '[Nominated Node]': '<none>',
      '[Readiness Gates]': '<none>',
    });
  });

  it('shows services, events, deployments, secrets and bindings', () => {
    const service = {
      spec: {
        clusterIP: '1.2.3.4',
        ports: [{ port: 80, nodePort: 30080, protocol: 'TCP' }],
        selector: { b: '2', a: '1' },
      },
    };
    expect(row(definition('Service'), object('Service', service))).toMatchObject({
      Type: 'ClusterIP',
      'Cluster-IP': '1.2.3.4',
      'External-IP': '<none>',
      'Port(s)': '80:30080/TCP',
      '[Selector]': 'a=1,b=2',
    });
    const event = {
      type: 'Warning',
      reason: 'BackOff',
      message: 'again\n',
      lastTimestamp: '2026-01-01T00:59:00Z',
      involvedObject: { kind: 'Pod', name: 'p' },
      count: 4,
    };
    expect(row(definition('Event'), object('Event', event))).toMatchObject({
      'Last Seen': '60s',
      Object: 'pod/p',
      Message: 'again',
      '[Count]': 4,
    });
    const deployment = {
      spec: {
        replicas: 0,
        selector: { matchLabels: { a: 'b' } },
        template: { spec: { containers: [{ name: 'c', image: 'i' }] } },
      },
    };
    expect(row(definition('Deployment', 'apps'), object('Deployment', deployment))).toMatchObject({
      Ready: '0/0',
      Available: 0,
      '[Images]': 'i',
      '[Selector]': 'a=b',
    });
    expect(row(definition('Secret'), object('Secret', { data: { a: '' } }))).toMatchObject({
      Type: 'Opaque',
      Data: 1,
    });
    const binding = {
      roleRef: { kind: 'Role', name: 'r' },
      subjects: [{ kind: 'ServiceAccount', name: 's', namespace: 'n' }],
    };
    expect(
      row(definition('RoleBinding', 'rbac.authorization.k8s.io'), object('RoleBinding', binding)),
    ).toMatchObject({
      Role: 'Role/r',
      '[ServiceAccounts]': 'n/s',
    });
  });

  it('renders any object of any built-in kind without its fields', () => {
    for (const each of builtInResources) {
      const bare: KubeObject = { apiVersion: 'v1', kind: each.kind, metadata: { name: 'x' } };
      const odd: KubeObject = {
        ...bare,
        spec: 'odd',
        status: [1],
        data: null,
        roleRef: 7,
        subjects: {},
        subsets: [null],
      };
      for (const item of [bare, odd]) {
        const columns = row(each, item);
        expect(columns, each.kind).not.toEqual({});
        expect(
          Object.values(columns).every((cell) => cell !== undefined),
          each.kind,
        ).toBe(true);
      }
    }
  });

  it('shows printer columns of custom resources', () => {
    const custom: ResourceDefinition = {
      ...definition('ConfigMap'),
      group: 'example.io',
      kind: 'Device',
      custom: true,
      printerColumns: [
        { name: 'Node', type: 'string', jsonPath: '.spec.nodeName' },
        { name: 'Count', type: 'integer', jsonPath: '.status.count', priority: 1 },
        { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
        { name: 'Since', type: 'date', jsonPath: '.metadata.creationTimestamp' },
        { name: 'None', type: 'string', jsonPath: '.nothing' },
      ],
    };
    const conditions = [
      { type: 'Other', status: 'False' },
      { type: 'Ready', status: 'True' },
    ];
    expect(
      row(custom, object('Device', { spec: { nodeName: 'n' }, status: { count: 3, conditions } })),
    ).toEqual({
      Name: 'x',
      Node: 'n',
      '[Count]': 3,
      Ready: 'True',
      Since: '60m',
      None: null,
    });
    const { printerColumns: _, ...plain } = custom;
    expect(row(plain, object('Device', {}))).toEqual({ Name: 'x', Age: '60m' });
  });

  it('includes as much of the object as was asked for', () => {
    const item = object('ConfigMap', { data: { a: 'b' } });
    const included = (includeObject?: 'None' | 'Metadata' | 'Object') =>
      renderTable(definition('ConfigMap'), [item], { nowMs, includeObject }).rows;
    expect(included('None')).toMatchObject([{ object: null }]);
    expect(included('Object')).toMatchObject([{ object: item }]);
    expect(included()).toMatchObject([
      { object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: item.metadata } },
    ]);
    expect(JSON.stringify(partialMetadataList([item], { resourceVersion: '3' }))).not.toContain('"data"');
  });
});

describe('durations', () => {
  it.each([
    [0, '0s'],
    [119, '119s'],
    [120, '2m'],
    [125, '2m5s'],
    [600, '10m'],
    [3 * 3600, '3h'],
    [3 * 3600 + 120, '3h2m'],
    [8 * 3600, '8h'],
    [2 * 86400, '2d'],
    [2 * 86400 + 7200, '2d2h'],
    [8 * 86400, '8d'],
    [2 * 365 * 86400, '2y'],
    [2 * 365 * 86400 + 86400, '2y1d'],
    [9 * 365 * 86400, '9y'],
    [-1, '0s'],
    [-5, '<invalid>'],
  ])('%d s is %s', (seconds, expected) => {
    expect(humanDuration(seconds * 1000)).toBe(expected);
  });

  it('does not know the age of what has no time', () => {
    expect(ageOf(undefined, 0)).toBe('<unknown>');
    expect(ageOf('yesterday', 0)).toBe('<unknown>');
  });
});

describe('JSONPath', () => {
  const value = {
    a: {
      b: [
        { n: 'x', v: 1 },
        { n: 'y', v: 2 },
      ],
    },
    'c.d': 3,
    'e/f': 4,
  };
  it.each([
    ['.a.b[0].n', ['x']],
    ['.a.b[-1].n', ['y']],
    ['.a.b[*].v', [1, 2]],
    ['{.a.b[?(@.n=="y")].v}', [2]],
    ['.a.b[?(@.v!=1)].n', ['y']],
    ["['c.d']", [3]],
    ['.c\\.d', [3]],
    ['.e/f', [4]],
    ['.constructor', []],
    ['.__proto__', []],
    ['.a.b.c', []],
  ])('%s', (path, expected) => {
    const steps = parseJsonPath(path);
    expect(steps && findAll(value, steps)).toEqual(expected);
  });

  it('does not understand everything', () => {
    expect(parseJsonPath('.a[1:2]')).toBeUndefined();
    expect(parseJsonPath('a b')).toBeUndefined();
  });
});
