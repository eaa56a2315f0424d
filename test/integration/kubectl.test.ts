/** Stock kubectl on the embedded API: what people type, and what it prints. */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RunningServer } from '#apiserver/testing/running-server.ts';
import { describeUnless } from '../describe-unless.ts';
import { type KubectlOutcome, kubectlFile, needsKubectl, runKubectl } from '../kubectl.ts';

const node = `
apiVersion: v1
kind: Node
metadata: {name: edge-1, labels: {node-role.kubernetes.io/edge: ""}}
status:
  capacity: {cpu: "2", memory: 4Gi, pods: "110"}
  allocatable: {cpu: "2", memory: 4Gi, pods: "110"}
  conditions: [{type: Ready, status: "True", reason: KubeletReady, message: ok}]
  nodeInfo: {kubeletVersion: v1.32.0}
`;

const pod = (image: string) => `
apiVersion: v1
kind: Pod
metadata: {name: hello, labels: {app: hello}}
spec:
  containers:
  - {name: main, image: "${image}", command: [sleep, "60"], ports: [{containerPort: 80}]}
`;

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: How big it is.}
              color: {type: string, default: red}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
`;

const widget = (size: number, more = '') => `
apiVersion: example.com/v1
kind: Widget
metadata: {name: one}
spec: {size: ${size}${more}}
`;

describeUnless(needsKubectl, 'kubectl', () => {
  let server: RunningServer;
  let directory: string;

  function kubectl(args: string, input = ''): Promise<KubectlOutcome> {
    const own = { kubeconfig: server.server.adminKubeconfig, cacheDir: join(directory, 'cache') };
    return runKubectl(own, args.split(' '), input);
  }

  async function succeed(args: string, input?: string): Promise<string> {
    const { code, out, err } = await kubectl(args, input);
    expect(`${code} ${err.replace(/^Warning:.*\n/gim, '')}`, `kubectl ${args}`).toBe('0 ');
    return out;
  }

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'kubectl-'));
    server = await RunningServer.start();
  });

  afterAll(async () => {
    await server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  test('version, raw paths, who am I', async () => {
    expect(await succeed('version')).toMatch(/Server Version: .*v1.32.0\+hawser/);
    expect(await succeed('get --raw /readyz')).toBe('ok');
    expect(await succeed('auth can-i create pods')).toBe('yes\n');
    expect(await succeed('auth whoami')).toContain('system:masters');
    expect(await succeed('api-resources')).toMatch(/^pods +po +v1 +true +Pod$/m);
  });

  test('nodes', async () => {
    expect(await succeed('apply -f -', node)).toBe('node/edge-1 created\n');
    expect(await succeed('get nodes')).toMatch(/edge-1 +Ready +edge +\S+ +v1.32.0/);
    await succeed('label node edge-1 zone=west');
    expect(await succeed('get nodes -l zone=west -o name')).toBe('node/edge-1\n');
    await succeed('cordon edge-1');
    expect(await succeed('get nodes')).toContain('Ready,SchedulingDisabled');
    await succeed('uncordon edge-1');
    expect(await succeed('describe node edge-1')).toContain('Allocated resources:');
  });

  test('a pod, applied by the client', async () => {
    expect(await succeed('apply -f -', pod('busybox:1'))).toBe('pod/hello created\n');
    await succeed('wait --for=jsonpath={.spec.nodeName}=edge-1 pod/hello --timeout=10s');
    expect(await succeed('apply -f -', pod('busybox:1'))).toBe('pod/hello unchanged\n');
    expect(await succeed('apply -f -', pod('busybox:2'))).toBe('pod/hello configured\n');
    expect(await succeed('get pod hello -o jsonpath={.spec.containers[0].image}')).toBe('busybox:2');
    expect(await succeed('get pods -o wide')).toMatch(/hello +0\/1 +Pending .*edge-1/);
    expect(await succeed('describe pod hello')).toContain('Successfully assigned default/hello to edge-1');
    const refused = await kubectl('apply -f -', pod('busybox:2').replace('"60"', '"61"'));
    expect(refused.code).not.toBe(0);
    expect(refused.err).toContain('pod updates may not change fields other than');
    await succeed(
      `patch pod hello --subresource=status --type=merge -p {"status":{"conditions":[{"type":"Ready","status":"True"}]}}`,
    );
    await succeed('wait --for=condition=Ready pod/hello --timeout=10s');
  });

  test('a pod is deleted: gracefully with its node, at once by force', async () => {
    await succeed('delete pod hello --wait=false');
    expect(await succeed('get pods')).toContain('Terminating');
    await succeed('delete pod hello --force --grace-period=0');
    expect((await kubectl('get pod hello')).err).toContain('pods "hello" not found');
  });

  test('the same pod, applied by the server', async () => {
    const apply = 'apply --server-side -f -';
    expect(await succeed(apply, pod('busybox:1'))).toBe('pod/hello serverside-applied\n');
    await succeed(
      `patch pod hello --type=json -p [{"op":"replace","path":"/spec/containers/0/image","value":"other:1"}]`,
    );
    const conflict = await kubectl(apply, pod('busybox:3'));
    expect(conflict.err).toContain('.spec.containers[name="main"].image');
    await succeed(`${apply} --force-conflicts`, pod('busybox:3'));
    expect(await succeed('get pod hello -o jsonpath={.spec.containers[0].image}')).toBe('busybox:3');
    await succeed('delete pod hello --force --grace-period=0');
  });

  test('configMaps and secrets', async () => {
    await succeed('create configmap settings --from-literal=mode=slow');
    expect(await succeed(`patch configmap settings -p {"data":{"mode":"fast"}}`)).toContain('patched');
    expect(await succeed('get cm settings -o jsonpath={.data.mode}')).toBe('fast');
    expect(await succeed('describe cm settings')).toContain('fast');
    await succeed('create secret generic keys --from-literal=password=secret');
    expect(await succeed('get secret keys -o jsonpath={.data.password}')).toBe('c2VjcmV0');
    expect(await succeed('get secrets')).toMatch(/keys +Opaque +1/);
    await succeed('annotate secret keys note=1');
    await succeed('delete secret/keys configmap/settings');
    expect((await kubectl('get secret keys')).err).toContain('NotFound');
  });

  test('unknown fields are refused before anything is written', async () => {
    const refused = await kubectl('create -f -', pod('x').replace('command:', 'comand:'));
    expect(refused.err).toContain('unknown field "spec.containers[0].comand"');
    expect((await kubectl('get pod hello')).code).not.toBe(0);
  });

  test('a custom kind, from its definition to its end', async () => {
    await succeed('apply -f -', definition);
    await succeed('wait --for=condition=Established crd/widgets.example.com --timeout=10s');
    expect(await succeed('apply -f -', widget(3))).toBe('widget.example.com/one created\n');
    expect(await succeed('get wd')).toMatch(/NAME +SIZE\s+one +3/);
    expect(await succeed('get wd one -o jsonpath={.spec.color}')).toBe('red');
    expect((await kubectl('apply -f -', widget(0))).err).toContain('should be greater than or equal to 1');
    expect((await kubectl('apply -f -', widget(4, ', bad: 1'))).err).toContain('unknown field "spec.bad"');
    expect(await succeed('apply -f -', widget(5))).toBe('widget.example.com/one configured\n');
    await succeed('apply --server-side -f -', widget(5));
    await succeed('label widget one shelf=top');
    await succeed(`patch wd one --type=merge -p {"spec":{"color":"blue"}}`);
    await succeed(`patch wd one --subresource=status --type=merge -p {"status":{"phase":"Done"}}`);
    await succeed('wait --for=jsonpath={.status.phase}=Done wd/one --timeout=10s');
    expect(await succeed('describe wd one')).toContain('blue');
    expect(await succeed('explain widget.spec.size')).toContain('How big it is.');
    await succeed('delete wd one');
    await succeed('apply -f -', widget(1));
    await succeed('delete crd widgets.example.com');
    expect((await kubectl('get wd')).code).not.toBe(0);
  });

  test('namespaces, accounts, tokens', async () => {
    await succeed('create namespace shop');
    await succeed('create configmap one -n shop');
    await succeed('create serviceaccount robot -n shop');
    const token = (await succeed('create token robot -n shop')).trim();
    expect(token.split('.')).toHaveLength(3);
    expect((await kubectl(`create token robot -n shop --duration=1m`)).err).toContain('less than 10 minutes');
    await succeed('create rolebinding robot -n shop --clusterrole=cluster-admin --serviceaccount=shop:robot');
    const as = 'system:serviceaccount:shop:robot';
    const bearer = { headers: { authorization: `Bearer ${token}` }, as: 'nobody' } as const;
    expect((await server.get('/api/v1/namespaces/shop/configmaps', bearer)).status).toBe(200);
    const elsewhere = await server.get('/api/v1/namespaces/default/configmaps', bearer);
    expect(elsewhere.body.message).toContain(`User "${as}" cannot list resource "configmaps"`);
    await succeed('delete namespace shop --timeout=20s');
    expect((await server.get('/api/v1/namespaces/default/configmaps', bearer)).status).toBe(401);
  });

  test('a watch shows what changes', async () => {
    const own = ['--cache-dir', join(directory, 'cache'), '--kubeconfig', server.server.adminKubeconfig];
    const watching = spawn(kubectlFile ?? '', [...own, 'get', 'configmaps', '--watch', '--no-headers']);
    try {
      const lines = createInterface({ input: watching.stdout })[Symbol.asyncIterator]();
      expect((await lines.next()).value).toMatch(/^kube-root-ca.crt +1/);
      await succeed('create configmap seen --from-literal=a=b');
      expect((await lines.next()).value).toMatch(/^seen +1/);
      await succeed('delete configmap seen');
      expect((await lines.next()).value).toMatch(/^seen +1/);
    } finally {
      watching.kill();
    }
  });

  test('drain moves pods away', async () => {
    await succeed('apply -f -', pod('busybox:1'));
    await succeed('wait --for=jsonpath={.spec.nodeName}=edge-1 pod/hello --timeout=10s');
    const drained = succeed('drain edge-1 --force --timeout=20s --grace-period=0');
    expect(await drained).toContain('node/edge-1 drained');
    await succeed('delete node edge-1');
    expect(await succeed('get nodes -o name')).toBe('');
  });
});
