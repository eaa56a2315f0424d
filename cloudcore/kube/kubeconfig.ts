/**
 * Reads what is needed to reach a Kubernetes API: from a kubeconfig file, or from a pod's service account.
 * Certificates, tokens and passwords are read here; credential plug-ins and proxies are handed to
 * auth-plugin.ts, because the library that knows them costs some 75 MB of memory when loaded.
 */

import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { loadConfig } from '#beehive/config-file.ts';
import { ConfigError } from '#beehive/errors.ts';

/** How to reach and authenticate to one API server; all files have been read but `tokenFile`. */
export interface Endpoint {
  readonly server: string;
  readonly tls: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly servername?: string;
    readonly rejectUnauthorized?: boolean;
  };
  readonly credential:
    | { readonly kind: 'none' }
    | { readonly kind: 'header'; readonly value: string }
    | { readonly kind: 'token-file'; readonly file: string }
    | { readonly kind: 'plugin'; readonly kubeconfig: string };
}

const named = <S extends z.ZodType>(key: string, value: S) =>
  z.array(z.looseObject({ name: z.string(), [key]: value }));

const cluster = z.looseObject({
  server: z.string(),
  'certificate-authority': z.string().optional(),
  'certificate-authority-data': z.string().optional(),
  'insecure-skip-tls-verify': z.boolean().optional(),
  'tls-server-name': z.string().optional(),
  'proxy-url': z.string().optional(),
});

const user = z.looseObject({
  'client-certificate': z.string().optional(),
  'client-certificate-data': z.string().optional(),
  'client-key': z.string().optional(),
  'client-key-data': z.string().optional(),
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  exec: z.unknown().optional(),
  'auth-provider': z.unknown().optional(),
});

const kubeconfigSchema = z.looseObject({
  'current-context': z.string(),
  clusters: z.array(z.looseObject({ name: z.string(), cluster })),
  users: named('user', user.nullish()).default([]),
  contexts: z.array(
    z.looseObject({
      name: z.string(),
      context: z.looseObject({ cluster: z.string(), user: z.string().default('') }),
    }),
  ),
});

/** @throws ConfigError when the file is missing, malformed, or its current context leads nowhere. */
export async function readKubeconfig(file: string): Promise<Endpoint> {
  const { config } = await loadConfig(file, { schema: kubeconfigSchema, unused: [] });
  const contextName = config['current-context'];
  const context = config.contexts.find(({ name }) => name === contextName)?.context;
  if (context === undefined) throw lost(file, 'current-context', `no context "${contextName}"`);
  const foundCluster = config.clusters.find(({ name }) => name === context.cluster)?.cluster;
  if (foundCluster === undefined) throw lost(file, 'clusters', `no cluster "${context.cluster}"`);
  const foundUser = user.parse(config.users.find(({ name }) => name === context.user)?.user ?? {});
  const at = dirname(resolve(file));
  return {
    server: foundCluster.server,
    tls: {
      ...(await material('ca', foundCluster, 'certificate-authority', at)),
      ...(await material('cert', foundUser, 'client-certificate', at)),
      ...(await material('key', foundUser, 'client-key', at)),
      ...(foundCluster['tls-server-name'] ? { servername: foundCluster['tls-server-name'] } : {}),
      ...(foundCluster['insecure-skip-tls-verify'] ? { rejectUnauthorized: false } : {}),
    },
    credential: credentialOf(foundUser, foundCluster['proxy-url'] !== undefined, at, file),
  };
}

const accountDir = '/var/run/secrets/kubernetes.io/serviceaccount';

/** @throws ConfigError outside of a pod. */
export async function inClusterEndpoint(env: NodeJS.ProcessEnv, dir = accountDir): Promise<Endpoint> {
  const host = env.KUBERNETES_SERVICE_HOST;
  const port = env.KUBERNETES_SERVICE_PORT;
  if (!host || !port) {
    throw lost('(in cluster)', 'KUBERNETES_SERVICE_HOST', 'not in a pod: give a kubeconfig file');
  }
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    tls: await material('ca', { ca: `${dir}/ca.crt` }, 'ca', dir),
    credential: { kind: 'token-file', file: `${dir}/token` },
  };
}

function credentialOf(
  found: z.infer<typeof user>,
  viaProxy: boolean,
  at: string,
  file: string,
): Endpoint['credential'] {
  if (viaProxy || found.exec || found['auth-provider']) return { kind: 'plugin', kubeconfig: file };
  if (found.tokenFile) return { kind: 'token-file', file: resolve(at, found.tokenFile) };
  if (found.token) return { kind: 'header', value: `Bearer ${found.token}` };
  if (found.username !== undefined) {
    const pair = Buffer.from(`${found.username}:${found.password ?? ''}`).toString('base64');
    return { kind: 'header', value: `Basic ${pair}` };
  }
  return { kind: 'none' };
}

async function material<K extends string>(
  key: K,
  from: Readonly<Record<string, unknown>>,
  field: string,
  at: string,
): Promise<{ [P in K]?: string }> {
  const data = from[`${field}-data`];
  const path = from[field];
  const result: { [P in K]?: string } = {};
  if (typeof data === 'string') result[key] = Buffer.from(data, 'base64').toString('utf8');
  else if (typeof path === 'string') result[key] = await readPem(resolve(at, path));
  return result;
}

async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new ConfigError(
      `cannot read ${file}, which the kubeconfig names`,
      { code: 'config', file, issues: [] },
      { cause: error },
    );
  }
}

function lost(file: string, path: string, reason: string): ConfigError {
  return new ConfigError(`${file}: ${path}: ${reason}`, { code: 'config', file, issues: [{ path, reason }] });
}
