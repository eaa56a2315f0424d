/** An image in the registry of the tests that nothing else uses: another's with a label of its own. */

import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';
import { criImage } from './runtime.ts';

const accept = ['application/vnd.oci.image.index.v1+json', 'application/vnd.oci.image.manifest.v1+json'].join(
  ', ',
);
const indexSchema = z.object({
  manifests: z.array(z.object({ digest: z.string(), platform: z.looseObject({ architecture: z.string() }) })),
});
const manifestSchema = z.looseObject({
  mediaType: z.string(),
  config: z.looseObject({ digest: z.string(), mediaType: z.string() }),
});
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** Its full name. */
export async function pushOwnImage(): Promise<string> {
  const [host = '', rest = ''] = criImage.split('/');
  const [name = '', tag = ''] = rest.split(':');
  const base = `http://${host}/v2/${name}`;
  const get = async (path: string): Promise<unknown> =>
    (await fetch(`${base}/${path}`, { headers: { accept } })).json();
  const index = indexSchema.parse(await get(`manifests/${tag}`));
  const mine = architectures[process.arch] ?? process.arch;
  const found = index.manifests.find((it) => it.platform.architecture === mine);
  const manifest = manifestSchema.parse(await get(`manifests/${found?.digest ?? ''}`));
  const config = z.looseObject({}).parse(await get(`blobs/${manifest.config.digest}`));
  const own = Buffer.from(
    JSON.stringify({ ...config, created: new Date().toISOString(), author: randomUUID() }),
  );
  const digest = `sha256:${createHash('sha256').update(own).digest('hex')}`;
  const begun = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
  const target = new URL(begun.headers.get('location') ?? '', base);
  target.searchParams.set('digest', digest);
  await put(target.href, 'application/octet-stream', own);
  const body = JSON.stringify({ ...manifest, config: { ...manifest.config, digest, size: own.length } });
  const ownTag = `own-${randomUUID()}`;
  await put(`${base}/manifests/${ownTag}`, manifest.mediaType, Buffer.from(body));
  return `${host}/${name}:${ownTag}`;
}

async function put(url: string, type: string, body: Buffer<ArrayBuffer>): Promise<void> {
  const answer = await fetch(url, { method: 'PUT', headers: { 'content-type': type }, body });
  if (!answer.ok) throw new Error(`the registry refuses ${url}: ${answer.status} ${await answer.text()}`);
}
