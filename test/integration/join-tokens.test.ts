/** Uses of a join token, counted by several cloudcores at once: on our API, and on that of HAWSER_TEST_KUBECONFIG. */

import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RunningServer } from '#apiserver/testing/running-server.ts';
import { systemClock } from '#beehive/clock.ts';
import { NamedTokens } from '#cloudcore/cloudhub/named-tokens.ts';
import { createKubeApi, type KubeClient } from '#cloudcore/kube/client.ts';
import { isAlreadyExists } from '#cloudcore/kube/kube-api.ts';
import { describeUnless, needsCluster } from '../describe-unless.ts';

const real = process.env.HAWSER_TEST_KUBECONFIG;

for (const [name, missing] of [
  ['the embedded API', undefined],
  ['a real API', needsCluster],
] as const)
  describeUnless(missing, `join tokens on ${name}`, () => {
    let server: RunningServer | undefined;
    let clients: KubeClient[];

    beforeAll(async () => {
      if (name === 'the embedded API') server = await RunningServer.start();
      const config = server === undefined ? (real ?? '') : join(server.dataDir, 'admin.conf');
      clients = await Promise.all([1, 2, 3].map(() => createKubeApi(config)));
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'kubeedge' } };
      await clients[0]
        ?.create({ apiVersion: 'v1', plural: 'namespaces' }, namespace)
        .catch((error: unknown) => {
          if (!isAlreadyExists(error)) throw error;
        });
    });
    afterAll(async () => {
      for (const client of clients) client.close();
      await server?.close();
    });

    it('three cloudcores give away the last use once; a deleted token is one no more', async () => {
      const clouds = clients.map((api) => new NamedTokens({ api, clock: systemClock }));
      const [first] = clouds;
      if (first === undefined) throw new Error('no cloudcore');
      const { id } = await first.create({ expiresMs: undefined, usesMax: 4, node: 'edge-1' });
      await expect(first.use(id, 'edge-2')).rejects.toMatchObject({ code: 'token-node' });
      const uses = await Promise.allSettled(
        Array.from({ length: 9 }, (_, at) => clouds[at % 3]?.use(id, 'edge-1')),
      );
      expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(4);
      const mine = async () => (await first.list()).find((token) => token.id === id);
      expect(await mine()).toMatchObject({ uses: 4, usesMax: 4, node: 'edge-1' });
      expect(await first.delete(id)).toBe(true);
      expect(await mine()).toBeUndefined();
      await expect(first.use(id, 'edge-1')).rejects.toMatchObject({ code: 'token-revoked' });
    });
  });
