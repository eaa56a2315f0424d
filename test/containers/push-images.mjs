// Makes images of one layer with a static busybox and puts them into a registry: `busybox`, for both common
// architectures' sake behind an index, `nginx`, which serves a page on port 80, and `pause:1`, which only waits.
//   node push-images.mjs REGISTRY-URL SCRATCH-DIRECTORY

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [registry, scratch] = process.argv.slice(2);
const oci = (what) => `application/vnd.oci.image.${what}.v1+json`;
const layerType = 'application/vnd.oci.image.layer.v1.tar';
const architecture = { x64: 'amd64', arm64: 'arm64', arm: 'arm' }[process.arch] ?? process.arch;

rmSync(scratch, { recursive: true, force: true });
const layer = makeLayer(join(scratch, 'root'));
const busybox = await pushManifest('busybox', { Cmd: ['/bin/sh'], Env: ['PATH=/bin'] });
const elsewhere = architecture === 'amd64' ? 'arm64' : 'amd64';
const foreign = {
  ...(await pushManifest('busybox', { Cmd: ['/not/for/this/machine'] }, elsewhere)),
  platform: { os: 'linux', architecture: elsewhere },
};
for (const tag of ['1', '2', 'latest'])
  await pushIndex(tag, [foreign, { ...busybox, platform: { os: 'linux', architecture } }]);
await pushIndex('other-platform', [foreign]);
const nginx = await pushManifest('nginx', {
  Cmd: ['/bin/httpd', '-f', '-p', '80', '-h', '/www'],
  Env: ['PATH=/bin'],
});
await put(`/v2/nginx/manifests/latest`, nginx.mediaType, nginx.body);
const pause = { Entrypoint: ['/bin/sleep', '2147483647'], Env: ['PATH=/bin'] };
const { mediaType, body } = await pushManifest('pause', pause);
await put(`/v2/pause/manifests/1`, mediaType, body);

async function pushIndex(tag, manifests) {
  const all = { schemaVersion: 2, mediaType: oci('index'), manifests };
  await put(`/v2/busybox/manifests/${tag}`, oci('index'), Buffer.from(JSON.stringify(all)));
}

function makeLayer(root) {
  for (const directory of ['bin', 'tmp', 'etc', 'proc', 'sys', 'dev', 'root', 'www'])
    mkdirSync(join(root, directory), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  const applets = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).split('\n');
  for (const applet of applets)
    if (applet !== '' && applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n',
  );
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n');
  writeFileSync(join(root, 'www/index.html'), 'hello from a container\n');
  const file = `${root}.tar`;
  execFileSync('tar', [
    '--create',
    '--file',
    file,
    '--owner=0',
    '--group=0',
    '--mode=u+rwX,go+rX',
    '--directory',
    root,
    '.',
  ]);
  return readFileSync(file);
}

async function pushManifest(name, config, forArchitecture = architecture) {
  const layerDescriptor = await pushBlob(name, layerType, layer);
  const image = {
    os: 'linux',
    architecture: forArchitecture,
    config,
    rootfs: { type: 'layers', diff_ids: [layerDescriptor.digest] },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: oci('manifest'),
    config: await pushBlob(name, oci('config'), Buffer.from(JSON.stringify(image))),
    layers: [layerDescriptor],
  };
  const body = Buffer.from(JSON.stringify(manifest));
  const described = describe(oci('manifest'), body);
  await put(`/v2/${name}/manifests/${described.digest}`, oci('manifest'), body);
  return Object.defineProperty(described, 'body', { value: body });
}

async function pushBlob(name, mediaType, body) {
  const described = describe(mediaType, body);
  const begun = await fetch(`${registry}/v2/${name}/blobs/uploads/`, { method: 'POST' });
  const target = new URL(begun.headers.get('location') ?? '', registry);
  target.searchParams.set('digest', described.digest);
  await put(target, 'application/octet-stream', body);
  return described;
}

function describe(mediaType, body) {
  return {
    mediaType,
    digest: `sha256:${createHash('sha256').update(body).digest('hex')}`,
    size: body.length,
  };
}

async function put(path, type, body) {
  const url = new URL(path, registry);
  const answer = await fetch(url, { method: 'PUT', headers: { 'content-type': type }, body });
  if (!answer.ok)
    throw new Error(`the registry refuses ${url.pathname}: ${answer.status} ${await answer.text()}`);
}
