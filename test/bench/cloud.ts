/** A cloud for a benchmark: keadm's own set-up, on the embedded API or on a cluster, with daemons that are ours. */

import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createKubeApi, type KubeClient } from '#cloudcore/kube/client.ts';
import { readToken } from '#keadm/commands/gettoken.ts';
import { init } from '#keadm/commands/init.ts';
import { createHost, type Host } from '#keadm/host.ts';
import { cloudLayout } from '#keadm/layout.ts';
import { freePorts } from '#test/free-port.ts';
import { Processes } from './processes.ts';

export interface BenchCloud {
  readonly dir: string;
  readonly host: Host;
  readonly processes: Processes;
  /** As administrator. */
  readonly api: KubeClient;
  readonly kubeConfig: string;
  readonly hubPort: number;
  readonly bootstrapPort: number;
  readonly token: string;
  /** PEM of the CA of the edges. */
  readonly ca: string;
  close(): Promise<void>;
}

export interface CloudOptions {
  readonly dir: string;
  /** Undefined: the embedded API. */
  readonly kubeConfig: string | undefined;
  readonly nodesMax: number;
  /** Directory for a processor profile of each daemon; SIGUSR2 writes its heap there. */
  readonly profileDir?: string | undefined;
}

export async function startCloud(options: CloudOptions): Promise<BenchCloud> {
  const { profileDir } = options;
  const flags = (name: string) =>
    profileDir === undefined
      ? []
      : [
          '--cpu-prof',
          `--cpu-prof-dir=${join(profileDir, name)}`,
          '--heapsnapshot-signal=SIGUSR2',
          `--diagnostic-dir=${profileDir}`,
        ];
  const processes = new Processes(flags);
  const host = createHost((line) => process.stdout.write(`${line}\n`), processes);
  const [apiPort = 0, hubPort = 0, bootstrapPort = 0, monitorPort = 0] = await freePorts(4);
  const dataDir = join(options.dir, 'cloud');
  const set = [
    `modules.cloudHub.websocket.port=${hubPort}`,
    `modules.cloudHub.https.port=${bootstrapPort}`,
    `modules.cloudHub.nodeLimit=${options.nodesMax}`,
    `commonConfig.monitorServer.bindAddress=127.0.0.1:${monitorPort}`,
  ];
  const advertiseAddress = ['127.0.0.1'];
  const { kubeConfig } = await init(
    { dataDir, kubeConfig: options.kubeConfig, advertiseAddress, apiPort, set },
    host,
  );
  const api = await createKubeApi(kubeConfig);
  return {
    dir: options.dir,
    host,
    processes,
    api,
    kubeConfig,
    hubPort,
    bootstrapPort,
    token: await readToken(api),
    ca: pemOf(await readFile(join(cloudLayout(dataDir).caDir, 'rootCA.crt'))),
    async close() {
      api.close();
      await processes.stopAll();
    },
  };
}

function pemOf(file: Buffer): string {
  return new X509Certificate(file).toString();
}
