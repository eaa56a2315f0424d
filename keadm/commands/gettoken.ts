/** `keadm gettoken`: prints the join token that cloudcore keeps, and nothing else. */

import { z } from 'zod';
import { createKubeApi } from '#cloudcore/kube/client.ts';
import { isNotFound, type KubeApi } from '#cloudcore/kube/kube-api.ts';
import { systemNamespace } from '#protocol/names.ts';
import { KeadmError } from '../errors.ts';
import { findKubeconfig } from '../kubeconfig.ts';

/** wire-protocol 2.1: where cloudcore writes the token. */
const tokenSecret = { apiVersion: 'v1', plural: 'secrets', namespace: systemNamespace, name: 'tokensecret' };
const tokenSecretSchema = z.looseObject({ data: z.looseObject({ tokendata: z.string() }) });

/** @throws KubeError `notFound` when cloudcore has not written one yet. */
export async function readToken(api: KubeApi): Promise<string> {
  const secret = tokenSecretSchema.parse(await api.get(tokenSecret));
  return Buffer.from(secret.data.tokendata, 'base64').toString('utf8').trim();
}

export async function getToken(options: {
  kubeConfig?: string | undefined;
  dataDir?: string | undefined;
}): Promise<string> {
  const kubeConfig = findKubeconfig(options.kubeConfig, options.dataDir);
  try {
    return await readToken(await createKubeApi(kubeConfig));
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new KeadmError(
      `there is no join token in the cluster of ${kubeConfig}; cloudcore makes it when it starts: run \`keadm init\`, or look at cloudcore's log`,
      { code: 'not-found', what: 'join token' },
      { cause: error },
    );
  }
}
