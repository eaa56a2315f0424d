/**
 * The process that plays all the edges: joins them over HTTPS as keadm would, connects, registers, and reports
 * what arrived when. Told what to do by its parent over the channel of `fork`.
 */

import 'reflect-metadata';
import { request } from 'node:https';
import * as x509 from '@peculiar/x509';
import { type EdgeIdentity, type EdgeKind, SimulatedEdge, type Traffic } from './simulated-edge.ts';

export interface Orders {
  /** Makes keys and certificate requests, which is the edges' own work. */
  prepare: { args: { nodes: readonly string[] }; result: undefined };
  /** Gets each its certificate. */
  join: { args: { port: number; ca: string; token: string; atOnce: number }; result: { seconds: number } };
  connect: {
    args: { port: number; kind: EdgeKind; from: number; to: number; atOnce: number };
    result: { seconds: number };
  };
  register: { args: { from: number; to: number; atOnce: number }; result: { seconds: number } };
  /** What went over the wires since the last time. */
  traffic: { args: Record<string, never>; result: Traffic & { seconds: number; connected: number } };
  /** The first arrival of each pod since the last time: name and milliseconds since the epoch. */
  arrivals: { args: Record<string, never>; result: { pods: readonly (readonly [string, number])[] } };
  close: { args: Record<string, never>; result: undefined };
}

interface Candidate {
  readonly node: string;
  readonly request: Uint8Array;
  readonly key: string;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const edges: SimulatedEdge[] = [];
let candidates: Candidate[] = [];
let identities: EdgeIdentity[] = [];
let traffic = noTraffic();
let trafficSinceMs = performance.now();
const arrivals = new Map<string, number>();

type Handlers = { [O in keyof Orders]: (args: Orders[O]['args']) => Promise<Orders[O]['result']> };

const handlers: Handlers = {
  async prepare({ nodes }) {
    candidates = [];
    for (const node of nodes) candidates.push(await candidateOf(node));
    return undefined;
  },
  async join({ port, ca, token, atOnce }) {
    const startedMs = performance.now();
    identities = new Array(candidates.length);
    await each(candidates, atOnce, async (candidate, at) => {
      identities[at] = { ca, cert: await askCertificate(candidate, port, ca, token), key: candidate.key };
    });
    return { seconds: (performance.now() - startedMs) / 1000 };
  },
  async connect({ port, kind, from, to, atOnce }) {
    const startedMs = performance.now();
    await each(identities.slice(from, to), atOnce, async (identity, at) => {
      const node = candidates[from + at]?.node ?? '';
      const edge = new SimulatedEdge(node, kind, traffic, arrived);
      await edge.connect(port, identity);
      edges[from + at] = edge;
    });
    return { seconds: (performance.now() - startedMs) / 1000 };
  },
  async register({ from, to, atOnce }) {
    const startedMs = performance.now();
    await each(edges.slice(from, to), atOnce, (edge) => edge.register());
    return { seconds: (performance.now() - startedMs) / 1000 };
  },
  async traffic() {
    const nowMs = performance.now();
    const result = { ...traffic, seconds: (nowMs - trafficSinceMs) / 1000 };
    // The edges count into this very object.
    Object.assign(traffic, noTraffic());
    trafficSinceMs = nowMs;
    return { ...result, connected: edges.filter((edge) => edge.isConnected).length };
  },
  async arrivals() {
    const pods = [...arrivals];
    arrivals.clear();
    return { pods };
  },
  async close() {
    await Promise.all(edges.splice(0).map((edge) => edge.close()));
    traffic = noTraffic();
    return undefined;
  },
};

process.on('message', ({ id, order, args }: { id: number; order: keyof Orders; args: never }) => {
  handlers[order](args).then(
    (result) => process.send?.({ id, result }),
    (error: unknown) => process.send?.({ id, error: error instanceof Error ? error.message : String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));

function noTraffic(): Traffic {
  return { upBytes: 0, downBytes: 0, upFrames: 0, downFrames: 0 };
}

function arrived(resource: string, operation: string): void {
  const [, type, name = ''] = resource.split('/');
  if (type !== 'pod' || operation === 'delete' || arrivals.has(name)) return;
  arrivals.set(name, performance.timeOrigin + performance.now());
}

async function candidateOf(node: string): Promise<Candidate> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const name = `C=CN,O=system:nodes,L=Hangzhou,ST=Zhejiang,CN=system:node:${node}`;
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name,
    keys,
    signingAlgorithm: algorithm,
  });
  const key = x509.PemConverter.encode(
    await crypto.subtle.exportKey('pkcs8', keys.privateKey),
    'PRIVATE KEY',
  );
  return { node, request: new Uint8Array(csr.rawData), key };
}

/** PEM. */
function askCertificate(
  { node, request: csr }: Candidate,
  port: number,
  ca: string,
  token: string,
): Promise<string> {
  // The first of the token's four parts is for the edge to check the CA by (wire 2.3).
  const bearer = token.split('.').slice(1).join('.');
  const headers = { authorization: `Bearer ${bearer}`, nodename: node, 'content-length': csr.byteLength };
  return new Promise((resolve, reject) => {
    const call = request({ host: '127.0.0.1', port, path: '/edge.crt', ca, headers, agent: false });
    call.on('error', reject);
    call.on('response', (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => {
        const body = Buffer.concat(chunks);
        if (answer.statusCode === 200) resolve(x509.PemConverter.encode(body, 'CERTIFICATE'));
        else reject(new Error(`join: ${answer.statusCode} ${body.toString()}`));
      });
    });
    call.end(csr);
  });
}

/** Works on so many at once. */
async function each<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T, at: number) => Promise<void>,
): Promise<void> {
  const left = items.entries();
  const lane = async () => {
    for (const [at, item] of left) await work(item, at);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}
