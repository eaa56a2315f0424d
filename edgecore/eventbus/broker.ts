/**
 * The embedded broker: aedes on a loopback socket, within limits (broker-rules, broker-memory, client-stream). What
 * clients publish and the edge listens to is handed to `receive`, of each client one after the other, and until it is
 * taken no more is read from that client; what the edge itself publishes reaches clients and is not handed back.
 */

import { readFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Aedes, Client } from 'aedes';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { TransportError } from '#protocol/errors.ts';
import { brokerLimits } from '#protocol/limits.ts';
import { topicMatches } from '#protocol/topics.ts';
import { createAdmission } from './admission.ts';
import { type AccessOptions, BrokerAccess, mayPublish, maySubscribe } from './broker-access.ts';
import { BrokerMemory } from './broker-memory.ts';
import { filterRefusal, topicRefusal } from './broker-rules.ts';
import { type ClientFault, ClientStream } from './client-stream.ts';
import type { Filters, MqttLink, Receive } from './link.ts';

export interface BrokerOptions {
  /** tcp://HOST:PORT */
  readonly url: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly sessionQueueMax: number;
  readonly tls?: BrokerTls | undefined;
  readonly access: AccessOptions;
}

/** PEM files. */
export interface BrokerTls {
  readonly certFile: string;
  readonly privateKeyFile: string;
  readonly clientCAFile?: string | undefined;
}

export interface BrokerComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly filters: Filters;
  readonly receive: Receive;
  readonly refused: (reason: Refusal) => void;
}

export type Refusal =
  | ClientFault
  | 'publish'
  | 'retain'
  | 'subscribe'
  | 'connect'
  | 'session'
  | 'does-not-acknowledge'
  | 'user';

export interface EmbeddedBroker extends MqttLink {
  readonly port: number;
}

/** Work for aedes that may be open at once. */
const concurrency = 256;

/** @throws TransportError `port-taken`; the system's error when it cannot listen there. */
export async function startBroker(
  options: BrokerOptions,
  components: BrokerComponents,
): Promise<EmbeddedBroker> {
  const { log, refused } = components;
  const broker = await createAedes(options, components);
  broker.on('clientError', (client, error) =>
    log.debug({ client: client.id, reason: error.message }, 'MQTT client disconnected'),
  );
  broker.on('connectionError', (_, error) => log.debug({ reason: error.message }, 'MQTT connection refused'));

  const sockets = new Set<Socket>();
  const serve = (socket: Socket) => {
    if (socket.destroyed) return;
    socket.setNoDelay(true);
    // A client may go without a word, and need not have asked to be watched.
    socket.setKeepAlive(true, brokerLimits.keepAliveMs);
    const stream = new ClientStream(socket, brokerLimits, refused);
    broker.handle(stream);
  };
  const server = options.tls === undefined ? createServer(serve) : await createTls(options.tls, serve);
  server.prependListener('connection', (socket: Socket) => {
    if (sockets.size >= brokerLimits.clientsMax) {
      refused('connect');
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', (error: Error) => {
    refused('connect');
    log.debug({ reason: error.message }, 'MQTT connection refused');
  });
  const port = await listen(server, options.url);
  server.on('error', (error) => log.warn({ reason: error.message }, 'MQTT listener failed'));

  return {
    port,
    publish(topic, payload) {
      return new Promise((resolve) => {
        const message = { topic, payload, qos: options.qos, retain: options.retain, dup: false } as const;
        broker.publish({ cmd: 'publish', ...message }, (error) => resolve(error ? 'dropped' : 'sent'));
      });
    },
    // What is listened to is looked up for each message.
    subscribe() {},
    unsubscribe() {},
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      await new Promise<void>((resolve) => broker.close(resolve));
    },
  };
}

async function createTls(
  { certFile, privateKeyFile, clientCAFile }: BrokerTls,
  serve: (socket: Socket) => void,
): Promise<Server> {
  const ca = clientCAFile === undefined ? undefined : await readFile(clientCAFile);
  const options = {
    cert: await readFile(certFile),
    key: await readFile(privateKeyFile),
    ...(ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }),
    handshakeTimeout: brokerLimits.connectTimeoutMs,
  };
  return createTlsServer(options, serve);
}

async function createAedes(
  { access, sessionQueueMax }: BrokerOptions,
  { filters, receive, refused, log, clock }: BrokerComponents,
): Promise<Aedes> {
  const { Aedes } = await import('aedes');
  const subscriptions = new WeakMap<object, Set<string>>();
  const memory = new BrokerMemory({
    sessionQueueMax,
    granted: (client, filter) => subscriptions.get(client)?.has(filter) === true,
    refused,
  });
  const forget = (id: string) => memory.forget({ id });
  const admission = createAdmission(new BrokerAccess(access), { refused, log, clock, forget });
  const turns = new WeakMap<Client, Promise<void>>();
  const broker = await Aedes.createBroker({
    concurrency,
    connectTimeout: brokerLimits.connectTimeoutMs,
    maxTopicLevels: brokerLimits.topicLevelsMax,
    maxInflightInbound: brokerLimits.unfinishedMax,
    persistence: memory,
    preConnect: admission.preConnect,
    authenticate: admission.authenticate,
    authorizePublish(client, packet, answer) {
      const rules = admission.rulesOf(client);
      const allowed = rules === undefined || mayPublish(rules, packet.topic);
      const reason = topicRefusal(packet.topic) ?? (allowed ? undefined : 'this user may not publish there');
      if (reason !== undefined) {
        refused('publish');
        log.debug({ client: client?.id, topic: packet.topic.slice(0, 200), reason }, 'MQTT publish refused');
        answer(new Error(reason));
        return;
      }
      answer(null);
    },
    authorizeSubscribe(client, subscription, answer) {
      const known = subscriptions.get(client) ?? new Set();
      const reason = filterRefusal(subscription.topic);
      const rules = admission.rulesOf(client) ?? {};
      const allowed = maySubscribe(rules, subscription.topic);
      const room = known.has(subscription.topic) || known.size < brokerLimits.subscriptionsPerClientMax;
      if (reason !== undefined || !room || !allowed) {
        refused('subscribe');
        answer(null, null);
        return;
      }
      subscriptions.set(client, known.add(subscription.topic));
      answer(null, subscription);
    },
    published(packet, client, done) {
      // Without a client it is the edge's own. The types do not say that it may be null.
      if (!(client as Client | null) || !listens(filters(), packet.topic)) {
        done();
        return;
      }
      const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
      const before = turns.get(client) ?? Promise.resolve();
      const turn = before
        .then(() => receive(packet.topic, payload))
        .catch((error: unknown) =>
          log.error({ topic: packet.topic, err: error }, 'a message of a client was lost'),
        );
      turns.set(client, turn);
      void turn.then(() => done());
    },
  });
  broker.on('unsubscribe', (filters, client) => {
    for (const filter of filters) subscriptions.get(client)?.delete(filter);
  });
  return broker;
}

function listens(filters: Iterable<string>, topic: string): boolean {
  for (const filter of filters) if (topicMatches(filter, topic)) return true;
  return false;
}

function listen(server: Server, url: string): Promise<number> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const taken = 'code' in error && error.code === 'EADDRINUSE';
      const detail = { code: 'port-taken', host, port: Number(port) } as const;
      const text = `cannot listen on ${host}:${port}, something else does; set modules.eventBus.mqttServerInternal to a free port`;
      reject(taken ? new TransportError(text, detail, { cause: error }) : error);
    });
    server.listen({ host, port: Number(port) }, () => {
      server.removeAllListeners('error');
      const address = server.address();
      resolve(address !== null && typeof address === 'object' ? address.port : Number(port));
    });
  });
}
