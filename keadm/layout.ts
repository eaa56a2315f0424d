/** Where the files of one cloud and of one edge lie: KubeEdge's places, or all below one data directory. */

import { join, resolve } from 'node:path';

export interface CloudLayout {
  readonly configFile: string;
  readonly caDir: string;
  readonly certDir: string;
  readonly libDir: string;
  readonly logDir: string;
  readonly apiserverDir: string;
  /** Kubeconfig of the administrator, written by init when the embedded API is used. */
  readonly adminConf: string;
  /** Kubeconfig by which cloudcore reaches its API. */
  readonly cloudcoreConf: string;
  readonly journalFile: string;
}

export interface EdgeLayout {
  readonly configFile: string;
  readonly caDir: string;
  readonly certDir: string;
  readonly dmiDir: string;
  readonly manifestDir: string;
  readonly libDir: string;
  readonly kubeletDir: string;
  readonly logDir: string;
  readonly journalFile: string;
  /** What tells this edge from others on the machine; undefined for the one in the default places. */
  readonly instance: string | undefined;
}

export function cloudLayout(dataDir: string | undefined): CloudLayout {
  const { etc, lib, log } = roots(dataDir);
  return {
    configFile: join(etc, 'config/cloudcore.yaml'),
    caDir: join(etc, 'ca'),
    certDir: join(etc, 'certs'),
    libDir: lib,
    logDir: log,
    apiserverDir: join(lib, 'apiserver'),
    adminConf: dataDir === undefined ? join(etc, 'admin.conf') : resolve(dataDir, 'admin.conf'),
    cloudcoreConf: join(etc, 'cloudcore.conf'),
    journalFile: join(lib, 'keadm-cloud.json'),
  };
}

export function edgeLayout(dataDir: string | undefined): EdgeLayout {
  const { etc, lib, log } = roots(dataDir);
  return {
    configFile: join(etc, 'config/edgecore.yaml'),
    caDir: join(etc, 'ca'),
    certDir: join(etc, 'certs'),
    dmiDir: etc,
    manifestDir: join(etc, 'manifests'),
    libDir: lib,
    kubeletDir: dataDir === undefined ? '/var/lib/kubelet' : join(lib, 'kubelet'),
    logDir: log,
    journalFile: join(lib, 'keadm-edge.json'),
    instance:
      dataDir === undefined
        ? undefined
        : resolve(dataDir)
            .replaceAll(/[^A-Za-z0-9]+/g, '-')
            .replace(/^-/, ''),
  };
}

function roots(dataDir: string | undefined): { etc: string; lib: string; log: string } {
  if (dataDir === undefined)
    return { etc: '/etc/kubeedge', lib: '/var/lib/kubeedge', log: '/var/log/kubeedge' };
  const root = resolve(dataDir);
  return { etc: join(root, 'etc'), lib: join(root, 'lib'), log: join(root, 'log') };
}
