/** What keadm reads of a kubeconfig, and the one it writes for cloudcore. Talking to the API is cloudcore/kube's part. */

import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';
import { formatYaml, parseYamlDocuments } from '#beehive/yaml.ts';
import { KeadmError } from './errors.ts';
import { cloudLayout } from './layout.ts';

const kubeconfigSchema = z.looseObject({
  'current-context': z.string(),
  contexts: z.array(z.looseObject({ name: z.string(), context: z.looseObject({ cluster: z.string() }) })),
  clusters: z.array(
    z.looseObject({
      name: z.string(),
      cluster: z.looseObject({
        server: z.string(),
        'certificate-authority': z.string().optional(),
        'certificate-authority-data': z.string().optional(),
      }),
    }),
  ),
});

export interface ClusterAddress {
  readonly server: string;
  /** Base64 of the PEM; undefined: the system's own authorities. */
  readonly caData: string | undefined;
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

/** Where the current context of a kubeconfig points. */
export async function readClusterAddress(file: string): Promise<ClusterAddress> {
  let document: unknown;
  try {
    [document] = parseYamlDocuments(await readFile(file, 'utf8'));
  } catch (error) {
    throw new KeadmError(
      `cannot read the kubeconfig ${file}`,
      { code: 'not-found', what: file },
      { cause: error },
    );
  }
  const parsed = kubeconfigSchema.safeParse(document);
  const config = parsed.success ? parsed.data : undefined;
  const context = config?.contexts.find((entry) => entry.name === config['current-context'])?.context;
  const cluster = config?.clusters.find((entry) => entry.name === context?.cluster)?.cluster;
  if (cluster === undefined) {
    throw new KeadmError(`${file} is not a kubeconfig with a current context`, {
      code: 'bad-flag',
      flag: '--kube-config',
    });
  }
  const caFile = cluster['certificate-authority'];
  const caData =
    cluster['certificate-authority-data'] ??
    (caFile === undefined
      ? undefined
      : (await readFile(isAbsolute(caFile) ? caFile : join(dirname(file), caFile))).toString('base64'));
  return { server: cluster.server, caData };
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
          ...(address.caData === undefined ? {} : { 'certificate-authority-data': address.caData }),
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
