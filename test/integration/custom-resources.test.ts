/** Custom resources as KubeEdge's users write them, applied with kubectl to the embedded and to a real API. */

import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RunningServer } from '#apiserver/testing/running-server.ts';
import { parseYamlDocuments } from '#beehive/yaml.ts';
import { type KubeObject, kubeObjectSchema } from '#protocol/resources/object.ts';
import { describeUnless, needsCluster } from '../describe-unless.ts';
import { type KubectlOutcome, needsKubectl, runKubectl } from '../kubectl.ts';

const crdFolder = new URL('../../crds/', import.meta.url).pathname;
const exampleFile = new URL('../data/custom-resources.yaml', import.meta.url);
const examples = parseYamlDocuments(await readFile(exampleFile, 'utf8')).map((document) =>
  kubeObjectSchema.parse(document),
);

/** Kind to what stands in the first line of `kubectl get`, and in the line of the example. */
const columns: Readonly<Record<string, readonly [head: RegExp, line: RegExp]>> = {
  DeviceModel: [/^NAME +PROTOCOL +AGE/, /modbus/],
  Device: [/^NAME +NODE +MODEL +PROTOCOL +AGE/, /edge-1 +thermo-model +modbus/],
  DeviceStatus: [
    /^NAME +STATE +PROPERTY +DESIRED +REPORTED +LAST ONLINE +AGE/,
    /online +setpoint +21 +20 +\d+[dy]/,
  ],
  ObjectSync: [/^NAME +KIND +OBJECT +VERSION +AGE/, /Device +thermo-01/],
  ClusterObjectSync: [/^NAME +KIND +OBJECT +VERSION +AGE/, /PersistentVolume +pv-1/],
  NodeGroup: [/^NAME +NODES +LABELS +AGE/, /\["edge-1"\] +\{"region":"hz"\}/],
  EdgeApplication: [/^NAME +FIRST GROUP +FIRST WORKLOAD +AGE/, /hangzhou/],
  NodeUpgradeJob: [/^NAME +VERSION +PHASE +AGE/, /v1\.23\.1/],
  ImagePrePullJob: [/^NAME +IMAGES +PHASE +AGE/, /\["nginx:1\.25"\]/],
  ConfigUpdateJob: [/^NAME +FIELDS +PHASE +AGE/, /\{"modules\.edgeStream\.enable":"true"\}/],
  RuleEndpoint: [/^NAME +TYPE +PORT +AGE/, /rest|servicebus +8080/],
  Rule: [/^NAME +SOURCE +TARGET +SUCCEEDED +FAILED +ERROR +AGE/, /cloud-api +edge-svc +0 +0/],
  ServiceAccountAccess: [/^NAME +ACCOUNT +NODES +AGE/, /app-sa/],
};

const shortNames = {
  dev: 'Device',
  devmodel: 'DeviceModel',
  devstatus: 'DeviceStatus',
  ng: 'NodeGroup',
  eapp: 'EdgeApplication',
  re: 'RuleEndpoint',
  saaccess: 'ServiceAccountAccess',
};

/** Of an example something is another; the API says where and what. */
const refused: [what: string, kind: string, patch: object, says: RegExp][] = [
  [
    'a version with a command',
    'NodeUpgradeJob',
    { version: 'v1.23.1;touch /tmp/x' },
    /spec\.version.*match/s,
  ],
  ['a version with a substitution', 'NodeUpgradeJob', { version: 'v1.23.1$(id)' }, /spec\.version.*match/s],
  ['a version with backticks', 'NodeUpgradeJob', { version: 'v1.23.1`id`' }, /spec\.version.*match/s],
  ['a version with a second line', 'NodeUpgradeJob', { version: 'v1.23.1\nid' }, /spec\.version.*match/s],
  ['a version that is an option', 'NodeUpgradeJob', { version: '--force' }, /spec\.version.*match/s],
  ['no version', 'NodeUpgradeJob', { version: undefined }, /spec\.version: Required/s],
  ['an image with a command', 'NodeUpgradeJob', { image: 'a/b; id' }, /spec\.image.*match/s],
  ['an image that is an option', 'NodeUpgradeJob', { image: '--privileged' }, /spec\.image.*match/s],
  ['names and labels', 'NodeUpgradeJob', { labelSelector: {} }, /spec.*one and only one/s],
  ['neither names nor labels', 'NodeUpgradeJob', { nodeNames: undefined }, /spec.*one and only one/s],
  ['more failures than nodes', 'NodeUpgradeJob', { failureTolerate: '1.5' }, /failureTolerate.*match/s],
  ['a check that nobody knows', 'NodeUpgradeJob', { checkItems: ['gpu'] }, /checkItems.*supported values/s],
  ['a value with a command', 'ConfigUpdateJob', { updateFields: { a: 'x;id' } }, /updateFields\.a.*match/s],
  ['a value with two lines', 'ConfigUpdateJob', { updateFields: { a: 'x\ny' } }, /updateFields\.a.*match/s],
  ['no fields', 'ConfigUpdateJob', { updateFields: {} }, /updateFields.*at least 1 properties/s],
  ['a scope that is missing', 'EdgeApplication', { workloadScope: undefined }, /workloadScope: Required/s],
  [
    'a manifest without a kind',
    'EdgeApplication',
    { workloadTemplate: { manifests: [{ apiVersion: 'v1', metadata: { name: 'x' } }] } },
    /manifests.*kind.*Required/s,
  ],
  ['a kind of endpoint', 'RuleEndpoint', { ruleEndpointType: 'grpc' }, /ruleEndpointType.*grpc/s],
  ['a rule without a target', 'Rule', { target: undefined }, /spec\.target: Required/s],
  ['a type of property', 'DeviceModel', { properties: [{ name: 'a', type: 'INTEGER' }] }, /type.*INTEGER/s],
  [
    'a wish without a value',
    'Device',
    { properties: [{ name: 'a', desired: {} }] },
    /desired\.value: Required/s,
  ],
  [
    'a cycle that is a text',
    'Device',
    { properties: [{ name: 'a', collectCycle: '5s' }] },
    /collectCycle.*integer/s,
  ],
];

function hasOwnStatus({ apiVersion, status }: KubeObject): boolean {
  return status !== undefined && !/^(devices|rules)\./.test(apiVersion ?? '');
}

interface OpenApi {
  readonly kubeconfig: string;
  close(): Promise<void>;
}

const apis: readonly [name: string, missing: string | undefined, open: () => Promise<OpenApi>][] = [
  [
    'the embedded API',
    needsKubectl,
    async () => {
      const server = await RunningServer.start();
      return { kubeconfig: server.server.adminKubeconfig, close: () => server.close() };
    },
  ],
  [
    'a real API',
    needsKubectl ?? needsCluster,
    async () => ({ kubeconfig: process.env.HAWSER_TEST_KUBECONFIG ?? '', close: async () => {} }),
  ],
];

for (const [apiName, missing, open] of apis)
  describeUnless(missing, `custom resources on ${apiName}`, () => {
    const id = randomUUID().slice(0, 8);
    const namespace = `examples-${id}`;
    /** So that a cluster that is used again holds nothing in the way. */
    const ours = ({ metadata, ...rest }: KubeObject) =>
      metadata.namespace === undefined
        ? { ...rest, metadata: { ...metadata, name: `${metadata.name}-${id}` } }
        : { ...rest, metadata: { ...metadata, namespace } };
    let api: OpenApi;
    let cacheDir: string;

    const kubectl = (args: readonly string[], input: unknown = ''): Promise<KubectlOutcome> =>
      runKubectl({ kubeconfig: api.kubeconfig, cacheDir }, args, JSON.stringify(input));
    const succeed = async (args: readonly string[], input?: unknown): Promise<string> => {
      const { code, out, err } = await kubectl(args, input);
      expect(`${code} ${err.replace(/^Warning:.*\n/gm, '')}`, args.join(' ')).toBe('0 ');
      return out;
    };

    beforeAll(async () => {
      cacheDir = await mkdtemp(join(tmpdir(), 'hawser-crds-'));
      api = await open();
      const files = (await readdir(crdFolder)).flatMap((file) => ['-f', join(crdFolder, file)]);
      await succeed(['apply', '--server-side', '--force-conflicts', '--field-manager=keadm', ...files]);
      const names = (await succeed(['get', 'crds', '-o', 'name'])).split('\n');
      const kubeedge = names.filter((name) => name.endsWith('.kubeedge.io'));
      await succeed(['wait', '--for=condition=Established', '--timeout=60s', ...kubeedge]);
      await succeed(['create', 'namespace', namespace]);
    });

    afterAll(async () => {
      const cluster = examples.filter(({ metadata }) => metadata.namespace === undefined).map(ours);
      await kubectl(['delete', '--ignore-not-found', '-f', '-'], {
        kind: 'List',
        apiVersion: 'v1',
        items: cluster,
      });
      await kubectl(['delete', 'namespace', namespace, '--wait=false']);
      await api.close();
      await rm(cacheDir, { recursive: true });
    });

    test.each(examples.map((example) => [example.kind ?? '', example] as const))(
      'a %s applies, again unchanged, and shows its columns',
      async (kind, example) => {
        const object = ours(example);
        const { name } = object.metadata;
        expect(await succeed(['apply', '-f', '-'], object)).toMatch(/ created\n$/);
        // A status that is a subresource is not kept by an apply, so each finds it missing.
        const again = hasOwnStatus(example) ? / configured\n$/ : / unchanged\n$/;
        expect(await succeed(['apply', '-f', '-'], object)).toMatch(again);
        const plural = `${kind.toLowerCase()}.${example.apiVersion?.split('/')[0]}`;
        const at = example.metadata.namespace === undefined ? [] : ['-n', namespace];
        const [head = '', line = ''] = (await succeed(['get', plural, name, ...at])).split('\n');
        const [headWanted, lineWanted] = columns[kind] ?? [];
        expect(head).toMatch(headWanted ?? /no columns are written down for it/);
        expect(line).toMatch(lineWanted ?? '');
        const stored = JSON.parse(await succeed(['get', plural, name, ...at, '-o', 'json']));
        expect(stored.spec ?? {}).toMatchObject(example.spec ?? {});
      },
    );

    test('short names lead to them', async () => {
      for (const [short, kind] of Object.entries(shortNames)) {
        const out = await succeed(['get', short, '-n', namespace, '-o', 'jsonpath={.items[*].kind}']);
        expect(new Set(out.split(' ')), short).toEqual(new Set([kind]));
      }
    });

    test('a job gets the defaults that are documented', async () => {
      const job = examples.find(({ kind }) => kind === 'ConfigUpdateJob');
      const name = `${job?.metadata.name}-${id}`;
      const out = await succeed(['get', 'configupdatejob', name, '-o', 'jsonpath={.spec}']);
      expect(JSON.parse(out)).toMatchObject({ concurrency: 1, failureTolerate: '0.1', timeoutSeconds: 300 });
    });

    test('what nothing acts on yet says so, and what is acted on does not', async () => {
      const warningOf = async (kind: string) => {
        const example = examples.find((each) => each.kind === kind);
        const { err } = await kubectl(['apply', '-f', '-'], ours(example ?? { metadata: { name: '' } }));
        return err;
      };
      expect(await warningOf('NodeGroup')).toContain('Warning: Hawser has no controller for NodeGroup yet');
      expect(await warningOf('NodeUpgradeJob')).toContain('no controller for NodeUpgradeJob yet');
      expect(await warningOf('Device')).toBe('');
    });

    test.each(refused)('%s is refused (%s)', async (_, kind, patch, says) => {
      const example = examples.find((each) => each.kind === kind);
      if (example === undefined) throw new Error(`there is no example of ${kind}`);
      const { metadata, ...object } = ours(example);
      const name = `bad-${randomUUID().slice(0, 8)}`;
      const spec = { ...Object(example.spec), ...patch };
      // The API's own word, not that of a kubectl that has read its schemas.
      const { code, err } = await kubectl(['create', '--validate=false', '-f', '-'], {
        ...object,
        metadata: { ...metadata, name },
        spec,
      });
      expect(err).toMatch(says);
      expect(code).not.toBe(0);
    });
  });
