import { describe, expect, it } from 'vitest';
import { podSchema } from '../pod/pod.ts';
import { parseImageName } from './image-name.ts';
import { pullCredentials } from './pull-secrets.ts';

describe('pull secrets', () => {
  const login = (username: string) => ({ auth: Buffer.from(`${username}:pass:word`).toString('base64') });
  const credentials = async (image: string, secret: Record<string, unknown>, key = '.dockerconfigjson') => {
    const name = parseImageName(image);
    if (name === undefined) throw new Error(`${image} is no image`);
    const pod = podSchema.parse({
      metadata: { name: 'p', namespace: 'n', uid: 'u' },
      spec: { containers: [], imagePullSecrets: [{ name: 'missing' }, { name: 'registry' }] },
    });
    return pullCredentials(pod, name, {
      data: async (_kind, _namespace, wanted) =>
        wanted === 'registry' ? new Map([[key, Buffer.from(JSON.stringify(secret))]]) : undefined,
      token: async () => ({ token: '', expiresAtMs: 0 }),
    });
  };

  it('are those of the image’s registry, the closest first', async () => {
    const auths = {
      'https://registry.test/v2/': login('all'),
      'registry.test/team': login('team'),
      'other.test': login('other'),
    };
    const found = await credentials('registry.test/team/app:1', { auths });
    expect(found.map((it) => [it.username, it.password])).toEqual([
      ['team', 'pass:word'],
      ['all', 'pass:word'],
    ]);
    expect(await credentials('registry.test/teams/app:1', { auths })).toHaveLength(1);
  });

  it('cover Docker Hub by its old name, hosts by a star, and the form of before', async () => {
    const hub = { auths: { 'https://index.docker.io/v1/': { username: 'me', password: 'p' } } };
    expect(await credentials('nginx', hub)).toEqual([
      { username: 'me', password: 'p', identityToken: undefined },
    ]);
    expect(
      await credentials('a.registry.test/x', { auths: { '*.registry.test': login('star') } }),
    ).toHaveLength(1);
    expect(await credentials('a.b.registry.test/x', { auths: { '*.registry.test': login('star') } })).toEqual(
      [],
    );
    expect(
      await credentials('registry.test/x', { 'registry.test': login('old') }, '.dockercfg'),
    ).toHaveLength(1);
  });

  it('are none where the secret holds no such file', async () => {
    expect(await credentials('registry.test/x', { auths: 'what' })).toEqual([]);
    expect(await credentials('registry.test/x', {}, 'password')).toEqual([]);
  });
});
