/** Which kubeconfig keadm uses, and the one it writes for cloudcore. Reading them is cloudcore/kube's part. */

import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { formatYaml } from '#beehive/yaml.ts';
import { KeadmError } from './errors.ts';
import { cloudLayout } from './layout.ts';

export interface ClusterAddress {
  readonly server: string;
  /** PEM; undefined: the system's own authorities. */
  readonly ca: string | undefined;
}

/** The kubeconfig to use when no flag names one: that of init, of the environment, of the user. */
export function findKubeconfig(flag: string | undefined, dataDir: string | undefined): string {
  if (flag !== undefined) return resolve(flag);
  const candidates = [
    cloudLayout(dataDir).adminConf,
    process.env.KUBECONFIG,
    join(homedir(), '.kube/config'),
  ];
  const found = candidates.find((file) => file !== undefined && existsSync(file));
  if (found !== undefined) return found;
  throw new KeadmError(
    `no kubeconfig found (looked for ${candidates.filter((file) => file !== undefined).join(', ')}); run this on the cloud machine after \`keadm init\`, or name one with --kube-config FILE`,
    { code: 'not-found', what: 'kubeconfig' },
  );
}

/** A kubeconfig that authenticates with a bearer token; only its owner may read it. */
export async function writeTokenKubeconfig(
  file: string,
  address: ClusterAddress,
  user: string,
  token: string,
): Promise<void> {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'cluster',
        cluster: {
          server: address.server,
          ...(address.ca === undefined
            ? {}
            : { 'certificate-authority-data': Buffer.from(address.ca).toString('base64') }),
        },
      },
    ],
    users: [{ name: user, user: { token } }],
    contexts: [{ name: user, context: { cluster: 'cluster', user } }],
    'current-context': user,
  };
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, formatYaml(config), { mode: 0o600 });
}
