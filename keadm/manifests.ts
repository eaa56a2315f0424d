/** Applies manifests (CRDs, roles, samples) to an API by server-side apply, so that a second run changes nothing. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '#beehive/package-root.ts';
import { parseYamlDocuments } from '#beehive/yaml.ts';
import { isNotFound, type KubeApi } from '#cloudcore/kube/kube-api.ts';
import { type KubeObject, kubeObjectSchema } from '#protocol/resources/object.ts';

export const fieldManager = 'keadm';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly object: KubeObject;
}

/** The kinds that our own manifests use. */
const plurals: Readonly<Record<string, string>> = {
  Namespace: 'namespaces',
  ServiceAccount: 'serviceaccounts',
  Secret: 'secrets',
  ConfigMap: 'configmaps',
  Pod: 'pods',
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
  Role: 'roles',
  RoleBinding: 'rolebindings',
  CustomResourceDefinition: 'customresourcedefinitions',
  Device: 'devices',
  DeviceModel: 'devicemodels',
};

export function toManifest(object: KubeObject): Manifest {
  const { apiVersion, kind } = object;
  if (apiVersion === undefined || kind === undefined) throw new Error('a manifest needs apiVersion and kind');
  return { apiVersion, kind, object };
}

export function parseManifests(text: string): Manifest[] {
  return parseYamlDocuments(text).map((document) => toManifest(kubeObjectSchema.parse(document)));
}

/** Reads all YAML files of a folder of this package, in the order of their names. */
export async function readPackageManifests(folder: 'crds' | 'samples', only?: string): Promise<Manifest[]> {
  const dir = join(packageRoot(), folder);
  const files = (await readdir(dir))
    .filter((file) => file.endsWith('.yaml') && (only === undefined || file === only))
    .sort();
  const texts = await Promise.all(files.map((file) => readFile(join(dir, file), 'utf8')));
  return texts.flatMap(parseManifests);
}

export async function applyManifest(api: KubeApi, manifest: Manifest): Promise<KubeObject> {
  return await api.patch(refOf(manifest), 'apply', manifest.object, { fieldManager, force: true });
}

/** True when it was there. */
export async function deleteManifest(api: KubeApi, manifest: Manifest): Promise<boolean> {
  try {
    await api.delete(refOf(manifest));
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

export function refOf({ apiVersion, kind, object }: Manifest) {
  const plural = plurals[kind];
  if (plural === undefined) throw new Error(`no plural known for kind ${kind}`);
  const { name, namespace } = object.metadata;
  return { apiVersion, plural, name, namespace };
}
