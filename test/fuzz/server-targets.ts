/** The embedded API server and CloudHub's HTTPS port, over real TLS. An answer of 500 is a fault, and so is none. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { protobufMediaType } from '#apiserver/protobuf/decode.ts';
import { RunningServer } from '#apiserver/testing/running-server.ts';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { BootstrapServer } from '#cloudcore/cloudhub/bootstrap-server.ts';
import { openCertificateAuthority } from '#cloudcore/cloudhub/certificate-authority.ts';
import { createCloudHubMetrics } from '#cloudcore/cloudhub/cloudhub-metrics.ts';
import { openTokenIssuer } from '#cloudcore/cloudhub/token.ts';
import { MemoryKubeApi } from '#cloudcore/kube/memory-kube-api.ts';
import { bootstrapLimits } from '#protocol/limits.ts';
import type { Chaos, Json } from './chaos.ts';
import { type Corpus, protobufBodies } from './corpus.ts';
import type { Target, Verdict } from './target.ts';

const pods = '/api/v1/namespaces/default/pods';
const maps = '/api/v1/namespaces/default/configmaps';
const goodPod: Json = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'fuzz', labels: { a: 'b' } },
  spec: { containers: [{ name: 'c', image: 'i', env: [{ name: 'A', value: 'b' }] }] },
};
const goodMap: Json = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'fuzz' }, data: { a: 'b' } };
const goodJsonPatch: Json = [{ op: 'add', path: '/metadata/labels', value: { a: 'c' } }];
const queries = ['', '?fieldManager=f', '?dryRun=All', '?fieldValidation=Strict', '?force=true', '?limit=-1'];

/** What one server takes: what it keeps of its past, for watches, is bounded, but this is no test of that bound. */
const casesPerServer = 1_000;

export function apiServerTarget({ objects }: Corpus): Target {
  const protobuf = protobufBodies();
  let current: Promise<RunningServer> | undefined;
  let cases = 0;
  const server = async (): Promise<RunningServer> => {
    cases += 1;
    if (current === undefined || cases % casesPerServer === 0) {
      const before = current;
      current = startServer();
      await before?.then(stopServer);
    }
    return current;
  };
  const ask = async (chaos: Chaos): Promise<number> => {
    const query = chaos.chance(0.2)
      ? `?${encoded(chaos.text('fieldManager=f&limit=1'))}`
      : chaos.pick(queries);
    const [path, good] = chaos.chance(0.5) ? ([pods, goodPod] as const) : ([maps, goodMap] as const);
    const named = `${path}/fuzz${query}`;
    const document = chaos.json(chaos.chance(0.8) ? good : chaos.pick(objects));
    const call = (method: string, to: string, type: string, body?: string | Buffer) =>
      server().then((running) =>
        running.call(method, to, {
          headers: { 'content-type': type },
          ...(body === undefined ? {} : { body }),
        }),
      );
    const answer = () => {
      switch (chaos.int(8)) {
        case 0:
          return call('POST', path + query, 'application/json', document);
        case 1:
          return call(
            'POST',
            path + query,
            protobufMediaType,
            Buffer.from(chaos.bytes(chaos.pick(protobuf))),
          );
        case 2:
          return call('PUT', named, 'application/json', document);
        case 3:
          return call('PATCH', named, 'application/merge-patch+json', document);
        case 4:
          return call('PATCH', named, 'application/json-patch+json', chaos.json(goodJsonPatch));
        case 5:
          return call('PATCH', named, 'application/strategic-merge-patch+json', document);
        case 6:
          return call('PATCH', `${path}/fuzz?fieldManager=f`, 'application/apply-patch+yaml', document);
        default: {
          const text = encoded(chaos.text('labelSelector=a%3Db&fieldSelector=metadata.name%3Dfuzz'));
          return call('GET', `${path}?${text.replaceAll('watch', '')}`, 'application/json');
        }
      }
    };
    return (await answer()).status;
  };
  return {
    name: 'API server',
    share: 0.01,
    // One after the other, so that a server is not ended under a request.
    atOnce: 1,
    async run(chaos) {
      const status = await ask(chaos);
      if (status >= 500 || status === 0) throw new Error(`the API server answered ${status}`);
      return status < 300 ? 'taken' : 'refused';
    },
    async close() {
      await current?.then(stopServer);
    },
  };
}

async function startServer(): Promise<RunningServer> {
  const server = await RunningServer.start();
  await server.post(maps, goodMap);
  await server.post(pods, goodPod);
  return server;
}

/** @throws Error when it does not serve a good client after all that */
async function stopServer(server: RunningServer): Promise<void> {
  const { status } = await server.get(maps);
  if (status !== 200) throw new Error(`a good client gets ${status} at the end`);
  await server.close();
}

/** Half a surrogate pair cannot stand in a URL. */
function encoded(query: string): string {
  return encodeURI(query.replaceAll(/[\ud800-\udfff]/g, '?'));
}

export async function bootstrapTarget(): Promise<Target> {
  const dir = mkdtempSync(join(tmpdir(), 'hawser-fuzz-hub-'));
  const api = new MemoryKubeApi({ clock: systemClock });
  const pair = (name: string) => ({ certFile: join(dir, `${name}.crt`), keyFile: join(dir, `${name}.key`) });
  const authority = await openCertificateAuthority(
    { caFiles: pair('ca'), serverFiles: pair('server'), serverNames: ['127.0.0.1'], nodeCertificateDays: 1 },
    { api, clock: systemClock, log: silentLog },
  );
  const tokens = await openTokenIssuer({ api, clock: systemClock });
  const token = (await tokens.issue(authority.certificateHash, 86_400_000)).split('.').slice(1).join('.');
  const server = await BootstrapServer.start(
    {
      host: '127.0.0.1',
      port: 0,
      limits: {
        ...bootstrapLimits,
        handshakeTimeoutMs: 1_000,
        failuresBurst: 1e9,
        requestTimeoutMs: 1_000,
        checkIntervalMs: 50,
      },
    },
    {
      authority,
      tokens,
      api,
      clock: systemClock,
      log: silentLog,
      metrics: createCloudHubMetrics(createMetrics()),
    },
  );
  const good =
    `GET /edge.crt HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nNodeName: edge-1\r\n` +
    `Hawser-Machine: ${'ab'.repeat(32)}\r\nContent-Length: 3\r\n\r\nabc`;
  const others = [
    good,
    'GET /ca.crt HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /node/edge-1 HTTP/1.1\r\nHost: x\r\n\r\n',
  ];
  return {
    name: 'HTTP to the joining port',
    share: 0.001,
    // Most requests are cut off, and wait until the server gives them up.
    atOnce: 128,
    run: async (chaos) =>
      statusVerdict(await exchange(server.port, authority.tls.ca, chaos.text(chaos.pick(others)))),
    async close() {
      await requireService(() => exchange(server.port, authority.tls.ca, others[1] ?? ''));
      await server.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** More than once, since on a busy machine a good client may be too slow for the server's short times. */
async function requireService(ask: () => Promise<string>): Promise<void> {
  for (let left = 5; left > 0; left -= 1) if ((await ask()).startsWith('HTTP/1.1 200')) return;
  throw new Error('a good client is not served at the end');
}

/** Ends without an answer only when the request was never whole; Node then answers 400 or 408, or drops the link. */
function statusVerdict(answer: string): Verdict {
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 408);
  if (status >= 500) throw new Error(`the joining port answered: ${answer.slice(0, 200)}`);
  return status < 300 ? 'taken' : 'refused';
}

const silentTicksMax = 100;

/** All that comes back for these bytes, until the server closes. */
function exchange(port: number, ca: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca });
    let answer = '';
    socket.setEncoding('latin1');
    socket.on('secureConnect', () => socket.write(text, 'latin1'));
    socket.on('data', (chunk) => {
      answer += String(chunk);
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
    // In ticks, each with a look at the sockets after it: a process of low priority may wait minutes for its turn.
    let ticksLeft = silentTicksMax;
    const ticking = setInterval(() => {
      ticksLeft -= 1;
      if (ticksLeft > 0) return;
      clearInterval(ticking);
      socket.destroy();
      reject(new Error(`no end to the answer for ${JSON.stringify(text.slice(0, 200))}`));
    }, 200);
    socket.on('close', () => clearInterval(ticking));
  });
}
