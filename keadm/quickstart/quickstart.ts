/**
 * The quick start: the same `init` and `join` that keadm runs, with the daemons as children of this process, and
 * a sample pod and device. Everything lies below one directory; a second start goes on from there.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join as joinPath, relative, resolve } from 'node:path';
import { systemClock } from '#beehive/clock.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import { silentLog } from '#beehive/log.ts';
import { packageRoot, packageVersion } from '#beehive/package-root.ts';
import { systemRandom } from '#beehive/random.ts';
import { createKubeApi } from '#cloudcore/kube/client.ts';
import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { connectExternal } from '#edgecore/eventbus/client.ts';
import { CancelledError } from '#protocol/errors.ts';
import { deviceTopic } from '#protocol/topics.ts';
import { readToken } from '../commands/gettoken.ts';
import { init } from '../commands/init.ts';
import { join } from '../commands/join.ts';
import { clearVolumes, stopEdgeContainers } from '../edge-containers.ts';
import { createHost, type Host } from '../host.ts';
import { edgeLayout } from '../layout.ts';
import { applyManifest, readPackageManifests } from '../manifests.ts';
import { findFreePort } from '../ports.ts';
import { createForegroundHost } from '../service/foreground-host.ts';
import { readSampleState, type SampleState } from './sample-state.ts';

export interface QuickstartOptions {
  readonly dataDir: string;
  readonly once: boolean;
  readonly print: (line: string) => void;
}

const names = {
  node: 'edge-1',
  pod: 'hello',
  device: 'thermometer',
  property: 'temperature',
  overMqtt: 'humidity',
};
/** What an app on the edge might have measured. */
const humidity = '45';
const thermometer = 'thermometer-mapper';
/** What the kernel takes for the path of a socket, less what listening at it needs. */
const socketPathBytesMax = 100;
const readyTimeoutMs = 60_000;
const pollMs = 200;
const livePollMs = 1_000;
const apiPort = 6443;

export async function quickstart(options: QuickstartOptions, signal: AbortSignal): Promise<void> {
  const { dataDir, print } = options;
  const startedMs = systemClock.now();
  const services = createForegroundHost({ clock: systemClock, random: systemRandom });
  const host = createHost(print, services);
  const edgeDir = joinPath(dataDir, 'edge');
  const sockets = await socketDirectory(edgeDir);
  print(`Hawser v${packageVersion()}: a cloud and an edge on this machine, everything below ${dataDir}`);
  try {
    const { api, broker } = await startAll(dataDir, { edgeDir, sockets: sockets.path }, services, host);
    const app = await openApp(broker);
    const state = await waitForSamples(api, app, host, startedMs, signal).finally(() => app.close());
    const seconds = ((systemClock.now() - startedMs) / 1000).toFixed(1);
    print(`\nAll of it works, ${seconds} s after the start:`);
    for (const line of state.lines) print(`  ${line}`);
    if (options.once) return;
    printNextCommands(dataDir, print);
    await showLive(api, print, startedMs, signal);
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
  } finally {
    print('\nstopping');
    await services.close();
    await stopEdgeContainers(edgeLayout(edgeDir));
    await clearVolumes(edgeLayout(edgeDir));
    await sockets.remove();
  }
}

/** Beside the edge's files, unless the kernel has no room for so long a path of a socket. */
async function socketDirectory(edgeDir: string): Promise<{ path: string; remove(): Promise<void> }> {
  const beside = dirname(edgeLayout(edgeDir).bootstrapFile);
  if (Buffer.byteLength(joinPath(beside, `${thermometer}.sock`)) <= socketPathBytesMax)
    return { path: beside, remove: async () => {} };
  const path = await mkdtemp(joinPath(tmpdir(), 'hawser-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

async function startAll(
  dataDir: string,
  { edgeDir, sockets }: { readonly edgeDir: string; readonly sockets: string },
  services: Host['services'],
  host: Host,
): Promise<{ readonly api: KubeApi; readonly broker: string }> {
  const cloud = await init(
    { dataDir, advertiseAddress: ['127.0.0.1'], apiPort: await findFreePort(apiPort, '127.0.0.1') },
    host,
  );
  const api = await createKubeApi(cloud.kubeConfig);
  const edge = await join(
    {
      cloudcoreIpPort: cloud.cloudcoreIpPort,
      certPort: cloud.bootstrapPort,
      token: await readToken(api),
      nodeName: names.node,
      dataDir: edgeDir,
      runtime: 'process',
      set: [
        `modules.deviceTwin.dmiSockPath=${sockets}/`,
        // Anybody's machine, whose disk may be fuller than a node's should be: the sample is to run there too.
        'modules.edged.tailoredKubeletConfig.evictionHard={memory.available:100Mi}',
      ],
    },
    host,
  );
  await host.steps.step('samples', async () => {
    for (const manifest of await readPackageManifests('samples')) await applyManifest(api, manifest);
    await services.start({
      name: thermometer,
      description: 'simulated thermometer',
      argv: [
        process.execPath,
        joinPath(packageRoot(), `dist/${thermometer}.js`),
        ...['--edgecore-sock', edge.dmiSocket],
        ...['--http-port', '0'],
      ],
      logFile: joinPath(edgeDir, `log/${thermometer}.log`),
      stateDir: joinPath(edgeDir, 'lib'),
    });
    return `pod ${names.pod}, device ${names.device}, a mapper for it`;
  });
  return { api, broker: edge.broker };
}

/** A program on the edge that knows no mapper and no cloud, only MQTT. */
async function openApp(broker: string): Promise<{ report(): Promise<void>; close(): Promise<void> }> {
  const id = `quickstart-${process.pid}`;
  const link = await connectExternal(
    { url: broker, listenerId: `${id}-in`, publisherId: id, username: '', password: '', tls: undefined },
    { log: silentLog, filters: () => [], receive: async () => {} },
  );
  const topic = deviceTopic(`default/${names.device}`, 'twin/update');
  const twin = { [names.overMqtt]: { actual: { value: humidity } } };
  return {
    async report() {
      await link.publish(topic, JSON.stringify({ event_id: '', timestamp: systemClock.now(), twin }));
    },
    close: () => link.close(),
  };
}

/** @throws UnrecoverableError with what is still missing */
async function waitForSamples(
  api: KubeApi,
  app: { report(): Promise<void> },
  host: Host,
  sinceMs: number,
  signal: AbortSignal,
): Promise<SampleState> {
  const startMs = host.clock.monotonicMs();
  for (;;) {
    const state = await readSampleState(api, names, sinceMs);
    if (state.nodeReady && state.podReady && state.reported && state.reportedOverMqtt) return state;
    if (!state.reportedOverMqtt) await app.report();
    if (host.clock.monotonicMs() - startMs > readyTimeoutMs) {
      throw new UnrecoverableError(
        `not all works after ${readyTimeoutMs / 1000} s:\n  ${state.lines.join('\n  ')}`,
      );
    }
    await host.clock.sleep(pollMs, signal);
  }
}

/** Prints a line whenever something changed. */
async function showLive(
  api: KubeApi,
  print: (line: string) => void,
  sinceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const shown = new Map<number, string>();
  for (;;) {
    const { lines } = await readSampleState(api, names, sinceMs);
    lines.forEach((line, at) => {
      if (shown.get(at) !== line && shown.has(at))
        print(`${new Date(systemClock.now()).toISOString().slice(11, 19)}  ${line}`);
      shown.set(at, line);
    });
    await systemClock.sleep(livePollMs, signal);
  }
}

function printNextCommands(dataDir: string, print: (line: string) => void): void {
  const inside = relative('.', joinPath(dataDir, 'admin.conf'));
  const conf = inside.startsWith('..') ? resolve(dataDir, 'admin.conf') : inside;
  print('\nTry, in another terminal:');
  print(`  kubectl --kubeconfig ${conf} get nodes,pods,devices`);
  print(`  kubectl --kubeconfig ${conf} describe pod ${names.pod}`);
  print(
    `  kubectl --kubeconfig ${conf} patch device ${names.device} --type json -p '[{"op":"replace","path":"/spec/properties/0/desired/value","value":"25"}]'`,
  );
  print('Ctrl-C stops everything.\n');
}
