/** Credentials for a registry, from the secrets that a pod names: the forms that `docker login` writes. */

import { z } from 'zod';
import type { ClusterObjects, ObjectData } from '../cluster-objects.ts';
import { type Pod, podNamespace } from '../pod/pod.ts';
import type { PullAuth } from '../runtime/runtime-service.ts';
import type { ImageName } from './image-name.ts';

const entrySchema = z.looseObject({
  username: z.string().nullish(),
  password: z.string().nullish(),
  auth: z.string().nullish(),
  identitytoken: z.string().nullish(),
});
const entriesSchema = z.record(z.string(), entrySchema);
const configSchema = z.looseObject({ auths: entriesSchema.default({}) });

/** In the order of the pod's secrets; a secret that is missing or no such file gives none. @throws ObjectUnavailableError */
export async function pullCredentials(
  pod: Pod,
  image: ImageName,
  objects: ClusterObjects,
): Promise<readonly PullAuth[]> {
  const found: PullAuth[] = [];
  for (const { name } of pod.spec.imagePullSecrets) {
    if (!name) continue;
    const data = await objects.data('secret', podNamespace(pod), name);
    if (data !== undefined) found.push(...matching(entriesOf(data), image));
  }
  return found;
}

function entriesOf(data: ObjectData): Readonly<Record<string, z.infer<typeof entrySchema>>> {
  const [config, legacy] = [data.get('.dockerconfigjson'), data.get('.dockercfg')];
  try {
    if (config !== undefined)
      return configSchema.safeParse(JSON.parse(config.toString('utf8'))).data?.auths ?? {};
    return entriesSchema.safeParse(JSON.parse(legacy?.toString('utf8') ?? '{}')).data ?? {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

function matching(
  entries: Readonly<Record<string, z.infer<typeof entrySchema>>>,
  { registry, path }: ImageName,
): PullAuth[] {
  return Object.entries(entries)
    .filter(([key]) => covers(key, registry, path))
    .sort(([a], [b]) => prefixOf(b).length - prefixOf(a).length)
    .flatMap(([, entry]) => {
      const auth = authOf(entry);
      return auth === undefined ? [] : [auth];
    });
}

/** `https://index.docker.io/v1/` is Docker Hub; `*` stands for one label of a host; a path covers what is below it. */
function covers(key: string, registry: string, path: string): boolean {
  const host = bare(key).split('/')[0] ?? '';
  if (host === 'index.docker.io' || host === 'docker.io') return registry === 'docker.io';
  const [wanted, given] = [registry.split('.'), host.split('.')];
  if (wanted.length !== given.length) return false;
  if (!given.every((it, at) => it === '*' || it === wanted[at])) return false;
  const prefix = prefixOf(key);
  return prefix === '' || path === prefix || path.startsWith(`${prefix}/`);
}

function prefixOf(key: string): string {
  const [, ...below] = bare(key).split('/');
  return below.filter((it) => it !== 'v1' && it !== 'v2').join('/');
}

function bare(key: string): string {
  return key.replace(/^https?:\/\//, '').replace(/\/+$/, '');
}

function authOf(entry: z.infer<typeof entrySchema>): PullAuth | undefined {
  const decoded = entry.auth ? Buffer.from(entry.auth, 'base64').toString('utf8') : '';
  const colon = decoded.indexOf(':');
  const username = entry.username || (colon > 0 ? decoded.slice(0, colon) : '');
  const password = entry.password || (colon > 0 ? decoded.slice(colon + 1).replace(/\0+$/, '') : '');
  const identityToken = entry.identitytoken || undefined;
  return username === '' && identityToken === undefined ? undefined : { username, password, identityToken };
}
