/**
 * Where the files of one cloud and of one edge lie: KubeEdge's places, or all below one data directory. KubeEdge
 * gives cloudcore and edgecore the same names for keys; here the cloud's lie apart, so that one machine can be both.
 */

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
  readonly bootstrapFile: string;
  /** The key of what is sealed in edgecore's database. */
  readonly sealKeyFile: string;
  readonly libDir: string;
  /** Volumes and the state of the process runtime; not the kubelet's own directory, which may be in use. */
  readonly podDir: string;
  /** Pods that this machine runs of its own accord; their files are the user's. */
  readonly staticPodDir: string;
  readonly logDir: string;
  readonly journalFile: string;
  /** What tells this edge from others on the machine; undefined for the one in the default places. */
  readonly instance: string | undefined;
}

export function cloudLayout(dataDir: string | undefined): CloudLayout {
  const { etc, lib, log } = roots(dataDir);
  return {
    configFile: join(etc, 'config/cloudcore.yaml'),
    caDir: join(etc, 'cloud/ca'),
    certDir: join(etc, 'cloud/certs'),
    libDir: join(lib, 'cloud'),
    logDir: log,
    apiserverDir: join(lib, 'cloud/apiserver'),
    adminConf: dataDir === undefined ? join(etc, 'admin.conf') : resolve(dataDir, 'admin.conf'),
    cloudcoreConf: join(etc, 'cloud/cloudcore.conf'),
    journalFile: join(lib, 'cloud/keadm.json'),
  };
}

export function edgeLayout(dataDir: string | undefined): EdgeLayout {
  const { etc, lib, log } = roots(dataDir);
  return {
    configFile: join(etc, 'config/edgecore.yaml'),
    caDir: join(etc, 'ca'),
    certDir: join(etc, 'certs'),
    bootstrapFile: join(etc, 'bootstrap-edgecore.conf'),
    sealKeyFile: join(etc, 'edge-seal.key'),
    libDir: lib,
    podDir: join(lib, 'edged'),
    staticPodDir: join(etc, 'manifests'),
    logDir: log,
    journalFile: join(lib, 'keadm.json'),
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
