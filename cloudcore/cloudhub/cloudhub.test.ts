import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bus } from '#beehive/bus.ts';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { seededRandom } from '#beehive/random.ts';
import { acknowledge, type Envelope, newEnvelope, replyError } from '#protocol/message.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { agreesToSession } from '#protocol/session.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import type { Connection, TlsIdentity, Transport } from '#protocol/transport/transport.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { MemoryLedger } from '#test/fixtures/memory-ledger.ts';
import { MemoryKubeApi } from '../kube/memory-kube-api.ts';
import { openCertificateAuthority } from './certificate-authority.ts';
import { type CloudHubOptions, cloudHubInbox, createCloudHub } from './cloudhub.ts';
import { certificatePem, createCa, issueNode } from './pki.ts';
import { SystemSecrets } from './system-secrets.ts';
import { openTokenIssuer } from './token.ts';

class Hub {
  readonly clock: ManualClock;
  readonly api: MemoryKubeApi;
  readonly bus: Bus;
  readonly network: MemoryNetwork;
  readonly bodies = new Map<string, KubeObject>();
  readonly ledger = new MemoryLedger();
  readonly heard: Record<'edgecontroller' | 'devicecontroller', Envelope[]>;
  readonly #stop = new AbortController();
  readonly #root: string;
  #port = 0;
  #done: Promise<void> = Promise.resolve();
  /** Controllers handle nothing while this is closed. */
  #gate: Promise<void> = Promise.resolve();

  constructor(root: string) {
    this.#root = root;
    this.clock = new ManualClock(Date.now());
    this.api = new MemoryKubeApi({ clock: this.clock });
    this.bus = new Bus({ clock: this.clock, log: silentLog });
    this.network = new MemoryNetwork({ clock: this.clock, random: seededRandom(1) });
    this.heard = { edgecontroller: [], devicecontroller: [] };
  }

  get options(): CloudHubOptions {
    const pair = (name: string) => ({
      certFile: join(this.#root, `${name}.crt`),
      keyFile: join(this.#root, `${name}.key`),
    });
    return {
      host: '127.0.0.1',
      port: 0,
      bootstrapPort: undefined,
      nodesMax: 2,
      silenceMaxMs: 30_000,
      writeTimeoutMs: 30_000,
      tokenRefreshIntervalMs: 12 * 3_600_000,
      authority: {
        caFiles: pair('ca'),
        serverFiles: pair('server'),
        serverNames: ['127.0.0.1'],
        nodeCertificateDays: 365,
      },
      advertisedAddress: '10.0.0.1',
    };
  }

  async start(change: Partial<CloudHubOptions> = {}, transport: Transport = this.network): Promise<void> {
    this.bus.open('cloudhub', cloudHubInbox);
    for (const name of ['edgecontroller', 'devicecontroller'] as const) {
      this.bus.open(name, { capacity: 4, lanesMax: 1 });
      void this.bus.serve(
        name,
        async (envelope) => {
          await this.#gate;
          this.heard[name].push(envelope);
        },
        this.#stop.signal,
      );
    }
    const ready = new Promise<number>((resolve, reject) => {
      const module = createCloudHub(
        { ...this.options, ...change },
        {
          api: this.api,
          reader: { read: async ({ namespace, name }) => this.bodies.get(`${namespace}/${name}`) },
          ledger: this.ledger,
          transport,
          controllers: ['edgecontroller', 'devicecontroller'],
          bus: this.bus,
          clock: this.clock,
          random: seededRandom(1),
          log: silentLog,
          metrics: createMetrics(),
          listening: ({ port }) => resolve(port),
        },
      );
      this.#done = module.run(this.#stop.signal, () => {});
      this.#done.catch(reject);
    });
    this.#port = await ready;
  }

  /** Closes the controllers' door; call the answer to open it. */
  block(): () => void {
    let open = () => {};
    this.#gate = new Promise((resolve) => {
      open = resolve;
    });
    return open;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done.catch(() => {});
  }

  async identity(node: string, machine?: string): Promise<TlsIdentity> {
    const { caFiles } = this.options.authority;
    const authority = await openCertificateAuthority(this.options.authority, { ...this, log: silentLog });
    const { readCredentialFiles } = await import('./credential-files.ts');
    const ca = await readCredentialFiles(caFiles);
    if (ca === undefined) throw new Error('no CA');
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const der = await issueNode(
      ca,
      { subject: { node, machine }, publicKey: spki, days: 1 },
      this.clock.now(),
    );
    const key = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
    return { ca: authority.tls.ca, cert: certificatePem(der), key };
  }

  async dial(
    node: string,
    {
      headers = {},
      tls,
      transport = this.network,
    }: { headers?: Record<string, string>; tls?: TlsIdentity; transport?: Transport } = {},
  ): Promise<Connection> {
    return transport.dial({
      url: `wss://127.0.0.1:${this.#port}/e632/${node}/events`,
      headers: { node_id: node, project_id: 'e632', ConnectionUse: 'msg', ...headers },
      tls: tls ?? (await this.identity(node)),
      handshakeTimeoutMs: 5_000,
      frameBytesMax: 1 << 20,
      signal: new AbortController().signal,
    });
  }

  offer(resource: string, operation = 'update', content?: unknown): Envelope {
    const route = { source: 'edgecontroller', group: 'resource', operation, resource };
    const envelope = newEnvelope(route, content, { resourceVersion: '1' });
    this.bus.send('cloudhub', envelope);
    return envelope;
  }
}

function frames(connection: Connection): () => Promise<Envelope | undefined> {
  const iterator = connection.frames[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await iterator.next();
    return done ? undefined : value;
  };
}

function keepalive(): Envelope {
  return newEnvelope(
    { source: 'websocket', group: 'resource', operation: 'keepalive', resource: 'node' },
    'ping',
  );
}

function podPatch(name: string): Envelope {
  return newEnvelope(
    { source: 'edged', group: 'meta', operation: 'patch', resource: `default/podpatch/${name}` },
    '{}',
  );
}

function pod(name: string, resourceVersion: string): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', uid: `u-${name}`, resourceVersion },
  };
}

let root: string;
let hub: Hub;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'hawser-hub-'));
  hub = new Hub(root);
});
afterEach(async () => {
  await hub.stop();
  await rm(root, { recursive: true });
});

async function until(condition: () => boolean): Promise<void> {
  await expect.poll(condition, { interval: 2 }).toBe(true);
}

function news(operation: string, heard: readonly Envelope[]): readonly Envelope[] {
  return heard.filter(({ route }) => route.source === 'cloudhub' && route.operation === operation);
}

describe('admission', () => {
  it('refuses a node_id that is not the certificate’s, and a certificate that is no node’s', async () => {
    await hub.start();
    const stolen = hub.dial('edge-1', { headers: { node_id: 'edge-2' } });
    await expect(stolen).rejects.toMatchObject({
      detail: { status: 403, body: expect.stringContaining('edge-1') },
    });
    const { tls } = await openCertificateAuthority(hub.options.authority, { ...hub, log: silentLog });
    await expect(hub.dial('edge-1', { tls })).rejects.toMatchObject({ detail: { status: 401 } });
  });

  it('refuses more nodes than allowed, but not one that comes again', async () => {
    await hub.start();
    await hub.dial('edge-1');
    await hub.dial('edge-2');
    await until(() => news('connected', hub.heard.edgecontroller).length === 2);
    await expect(hub.dial('edge-3')).rejects.toMatchObject({
      detail: { status: 503, body: expect.stringContaining('nodeLimit') },
    });
    await hub.dial('edge-1');
  });

  it('agrees to our session only when it is asked for', async () => {
    await hub.start();
    const ours = await hub.dial('edge-1', { headers: { 'Hawser-Session': '1' } });
    const theirs = await hub.dial('edge-2');
    expect([agreesToSession(ours.headers), agreesToSession(theirs.headers)]).toEqual([true, false]);
    await until(() => news('connected', hub.heard.devicecontroller).length === 2);
    const sessions = news('connected', hub.heard.devicecontroller).map(({ route, content }) => [
      route.resource,
      content,
    ]);
    expect(sessions).toEqual([
      ['node/edge-1', { session: 'hawser' }],
      ['node/edge-2', { session: 'kubeedge' }],
    ]);
  });
});

describe('session', () => {
  it('takes messages up under the node’s name and drops forged ones', async () => {
    await hub.start();
    const edge = await hub.dial('edge-1');
    await edge.send(
      newEnvelope(
        { source: 'edgecontroller', group: 'resource', operation: 'update', resource: 'default/pod/x' },
        {},
      ),
    );
    await edge.send(podPatch('a'));
    await until(() => hub.heard.edgecontroller.length === 2);
    expect(hub.heard.edgecontroller[1]?.route.resource).toBe('node/edge-1/default/podpatch/a');
  });

  it('sends the body as it is at send time, and again under the same id until it is acknowledged', async () => {
    await hub.start();
    hub.bodies.set('default/a', pod('a', '7'));
    const edge = await hub.dial('edge-1');
    const next = frames(edge);
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    hub.offer('node/edge-1/default/pod/a');
    const first = await next();
    expect(first).toMatchObject({
      header: { resourceversion: '7' },
      route: { resource: 'default/pod/a', operation: 'update' },
      content: { metadata: { uid: 'u-a' } },
    });
    await hub.clock.advance(5_000);
    const second = await next();
    expect(second).toEqual(first);
    if (second === undefined) throw new Error('closed');
    await edge.send(acknowledge(second));
    hub.bodies.set('default/b', pod('b', '8'));
    hub.offer('node/edge-1/default/pod/b');
    expect((await next())?.route.resource).toBe('default/pod/b');
  });

  it('sends replies past objects that wait, and nothing for an object that is gone', async () => {
    await hub.start();
    const edge = await hub.dial('edge-1');
    const next = frames(edge);
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    hub.offer('node/edge-1/default/pod/gone');
    const request = {
      ...podPatch('a'),
      route: { ...podPatch('a').route, resource: 'node/edge-1/default/podpatch/a' },
    };
    hub.bus.send('cloudhub', replyError(request, 'no'));
    expect((await next())?.content).toBe('no');
  });

  it('tries again later what the edge refused', async () => {
    await hub.start();
    hub.bodies.set('default/a', pod('a', '7'));
    const edge = await hub.dial('edge-1');
    const next = frames(edge);
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    hub.offer('node/edge-1/default/pod/a');
    const first = await next();
    if (first === undefined) throw new Error('closed');
    await edge.send(replyError(first, 'disk is full', { source: 'metamanager' }));
    await edge.send(podPatch('marker'));
    await until(() => hub.heard.edgecontroller.length === 2);
    await hub.clock.advance(5_000);
    expect((await next())?.header.msg_id).toBe(first.header.msg_id);
  });

  it('gives the node to the newest connection, and the old one’s end changes nothing', async () => {
    await hub.start();
    const old = await hub.dial('edge-1');
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    const fresh = await hub.dial('edge-1');
    await old.closed;
    await until(() => news('connected', hub.heard.edgecontroller).length === 2);
    hub.bodies.set('default/a', pod('a', '7'));
    hub.offer('node/edge-1/default/pod/a');
    expect((await frames(fresh)())?.route.resource).toBe('default/pod/a');
    expect(news('disconnected', hub.heard.edgecontroller)).toEqual([]);
    await fresh.close();
    await until(() => news('disconnected', hub.heard.edgecontroller).length === 1);
  });

  it('keeps the node to the machine that is connected, whoever copied its certificate', async () => {
    await hub.start();
    const headers = (machine: string) => ({ headers: { 'Hawser-Machine': machine } });
    const first = await hub.dial('edge-1', headers('machine-a'));
    await expect(hub.dial('edge-1', headers('machine-b'))).rejects.toMatchObject({
      detail: { status: 409, body: expect.stringContaining('connected from another machine') },
    });
    // The same machine again, as after a cut that this end has not seen yet.
    const again = await hub.dial('edge-1', headers('machine-a'));
    expect(await first.closed).toContain('replaced');
    await again.close();
    await until(() => news('disconnected', hub.heard.edgecontroller).length === 1);
    await hub.dial('edge-1', headers('machine-b'));
  });

  it('ends after 30 s of silence, not while keepalives come', async () => {
    await hub.start();
    const edge = await hub.dial('edge-1');
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    for (let beats = 0; beats < 4; beats += 1) {
      await hub.clock.advance(15_000);
      await edge.send(keepalive());
      await edge.send(podPatch(`beat-${beats}`));
      await until(() => hub.heard.edgecontroller.length === beats + 2);
    }
    await hub.clock.advance(36_000);
    await until(() => news('disconnected', hub.heard.edgecontroller).length === 1);
    await edge.closed;
  });

  it('asks an edge of ours before it gives up, and gives up when the link is dead', async () => {
    await hub.start();
    await hub.dial('edge-1', { headers: { 'Hawser-Session': '1' } });
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    await hub.clock.advance(120_000);
    expect(news('disconnected', hub.heard.edgecontroller)).toEqual([]);
    hub.network.silence();
    await hub.clock.advance(60_000);
    await until(() => news('disconnected', hub.heard.edgecontroller).length === 1);
  });

  it('ends for an edge that does not take what it is sent', async () => {
    await hub.start({ writeTimeoutMs: 6_000 });
    hub.bodies.set('default/a', pod('a', '7'));
    await hub.dial('edge-1');
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    hub.network.silence();
    hub.offer('node/edge-1/default/pod/a');
    await hub.clock.advance(5_000);
    expect(news('disconnected', hub.heard.edgecontroller)).toEqual([]);
    // The end itself, and the time that an orderly close may take.
    await hub.clock.advance(2_000);
    await hub.clock.advance(2_000);
    await until(() => news('disconnected', hub.heard.edgecontroller).length === 1);
  });

  it('ends when the Node is deleted', async () => {
    await hub.start();
    const edge = await hub.dial('edge-1');
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    hub.offer('node/edge-1/null/node/edge-1', 'delete', { metadata: { name: 'edge-1', uid: 'u' } });
    await edge.closed;
  });

  it('ends for an edge that goes on sending nonsense', async () => {
    await hub.start();
    const edge = await hub.dial('edge-1');
    const forged = () =>
      newEnvelope({ source: 'cloudhub', group: 'resource', operation: 'update', resource: 'x/y/z' }, {});
    for (let sent = 0; sent < 31; sent += 1) await edge.send(forged()).catch(() => {});
    await edge.closed;
  });

  it('reads no more from a node while a controller has no room, and loses nothing', async () => {
    await hub.start();
    const edge = await hub.dial('edge-1');
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    const open = hub.block();
    const sent = Array.from({ length: 200 }, (_, n) => podPatch(`p${n}`));
    const sending = Promise.all(sent.map((envelope) => edge.send(envelope)));
    await until(() => hub.bus.depths().get('edgecontroller') === 4);
    await hub.clock.advance(60_000);
    expect(news('disconnected', hub.heard.edgecontroller)).toEqual([]);
    open();
    await sending;
    await until(() => hub.heard.edgecontroller.length === 201);
    const names = hub.heard.edgecontroller.slice(1).map(({ header }) => header.msg_id);
    expect(names).toEqual(sent.map(({ header }) => header.msg_id));
  });

  it('writes on the Node which cloudcore has it and which machine it is, once it exists', async () => {
    await hub.start();
    await hub.dial('edge-1', { tls: await hub.identity('edge-1', 'machine-a') });
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    await hub.clock.advance(1_500);
    await hub.api.create({ apiVersion: 'v1', plural: 'nodes' }, { metadata: { name: 'edge-1' } });
    hub.bodies.set('undefined/edge-1', { metadata: { name: 'edge-1' } });
    await hub.clock.advance(10_000);
    const node = await hub.api.get({ apiVersion: 'v1', plural: 'nodes', name: 'edge-1' });
    expect(node.metadata.annotations).toEqual({ cloudcore: '10.0.0.1', 'hawser.dev/machine': 'machine-a' });
  });

  it('drops what is for a node that is not there', async () => {
    await hub.start();
    hub.offer('node/edge-9/default/pod/a');
    hub.offer('no node at all');
    const edge = await hub.dial('edge-1');
    hub.bodies.set('default/a', pod('a', '7'));
    await until(() => news('connected', hub.heard.edgecontroller).length === 1);
    hub.offer('node/edge-1/default/pod/a');
    expect((await frames(edge)())?.route.resource).toBe('default/pod/a');
  });
});

describe('join token', () => {
  it('is renewed in the secret as long as cloudcore runs', async () => {
    await hub.start();
    const secrets = new SystemSecrets(hub.api);
    const published = async () =>
      Buffer.from((await secrets.read('tokensecret'))?.tokendata ?? '').toString();
    const first = await published();
    await hub.clock.advance(12 * 3_600_000 + 1_000);
    await expect.poll(published).not.toBe(first);
    const second = await published();
    const issuer = await openTokenIssuer(hub);
    await issuer.verify(second.slice(65));
  });
});

describe('over real TLS', () => {
  it('serves a node of its CA and shuts out one of another', async () => {
    const transport = createWebSocketTransport({ clock: hub.clock });
    await hub.start({}, transport);
    const edge = await hub.dial('edge-1', { transport });
    await edge.send(podPatch('a'));
    await until(() => hub.heard.edgecontroller.length === 2);
    const foreign = await createCa(Date.now());
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const subject = { node: 'edge-1', machine: undefined };
    const der = await issueNode(foreign, { subject, publicKey: spki, days: 1 }, Date.now());
    const key = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
    const tls = { ...(await hub.identity('edge-1')), cert: certificatePem(der), key };
    await expect(hub.dial('edge-1', { tls, transport })).rejects.toThrow();
    await edge.close();
  });

  it('says which port is taken and which field changes it', async () => {
    const transport = createWebSocketTransport({ clock: hub.clock });
    const admit = () => ({ accept: false, status: 503, reason: '' }) as const;
    const taken = await transport.listen({
      host: '127.0.0.1',
      port: 0,
      admit,
      connectionsMax: 1,
      frameBytesMax: 1,
    });
    await expect(hub.start({ port: taken.port }, transport)).rejects.toThrow(
      `port ${taken.port} is taken by another program: stop it, or set modules.cloudHub.websocket.port`,
    );
    await taken.close();
  });
});
