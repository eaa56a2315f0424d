/** Opaque secrets in the namespace `kubeedge`: read, created or adopted, or written over. Values are bytes. */

import { z } from 'zod';
import { systemNamespace } from '#protocol/names.ts';
import { isAlreadyExists, isConflict, isNotFound, type KubeApi, type ObjectRef } from '../kube/kube-api.ts';

export type SecretData = Readonly<Record<string, Uint8Array>>;

const dataSchema = z.looseObject({ data: z.record(z.string(), z.string()).nullish() });
const writesMax = 5;

export class SystemSecrets {
  readonly #api: KubeApi;

  constructor(api: KubeApi) {
    this.#api = api;
  }

  /** @throws KubeError */
  async read(name: string): Promise<SecretData | undefined> {
    try {
      const { data } = dataSchema.parse(await this.#api.get(refOf(name)));
      return Object.fromEntries(
        Object.entries(data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')]),
      );
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** What is stored afterwards: `data`, or what somebody else stored first. @throws KubeError */
  async createOrAdopt(name: string, data: SecretData): Promise<SecretData> {
    try {
      await this.#create(name, data);
      return data;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      return (await this.read(name)) ?? this.createOrAdopt(name, data);
    }
  }

  /** Stores `data` whatever was there. @throws KubeError */
  async put(name: string, data: SecretData): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        if ((await this.read(name)) === undefined) await this.#create(name, data);
        else await this.#api.replace(refOf(name), document(name, data));
        return;
      } catch (error) {
        const lostRace = isAlreadyExists(error) || isConflict(error) || isNotFound(error);
        if (!lostRace || tries === writesMax) throw error;
      }
    }
  }

  async #create(name: string, data: SecretData): Promise<void> {
    const { name: _, ...collection } = refOf(name);
    try {
      await this.#api.create(collection, document(name, data));
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await this.#createNamespace();
      await this.#api.create(collection, document(name, data));
    }
  }

  async #createNamespace(): Promise<void> {
    try {
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: systemNamespace } };
      await this.#api.create({ apiVersion: 'v1', plural: 'namespaces' }, namespace);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }
}

function refOf(name: string): ObjectRef {
  return { apiVersion: 'v1', plural: 'secrets', namespace: systemNamespace, name };
}

function document(name: string, data: SecretData): object {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'Opaque',
    metadata: { name, namespace: systemNamespace },
    data: Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    ),
  };
}
