/**
 * The HTTPS side of joining (wire 1.2): the CA certificate for anybody, a node certificate for who has a token
 * or the node's present certificate, and the question whether a node name is free.
 *
 * `GET /node/{name}` answers 404 when the asker may join under that name, which for a KubeEdge keadm means that
 * no such node exists. A machine that names itself in `Hawser-Machine` is also told 404 when the node is its
 * own, so that it can join again; 200 means that the name is another machine's.
 *
 * Whoever reaches this port is unknown: headers, bodies, time and connections are limited, the body is read
 * after the caller proved its right to it, and every answer closes the connection.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { describeError, TransportError } from '#protocol/errors.ts';
import { bootstrapLimits } from '#protocol/limits.ts';
import { machineHeader } from '#protocol/session.ts';
import { Strangers, type TurnedAway } from '#protocol/transport/strangers.ts';
import { type KubeApi, KubeError } from '../kube/kube-api.ts';
import type { CertificateAuthority } from './certificate-authority.ts';
import type { CloudHubMetrics } from './cloudhub-metrics.ts';
import { NamedTokens } from './named-tokens.ts';
import { isMachine, machineOf } from './node-annotations.ts';
import { CertificateRequestError, isNodeName } from './pki.ts';
import { type PresentNode, presentCertificate } from './present-certificate.ts';
import { RollingToken } from './rolling-token.ts';
import type { TokenIssuer } from './token.ts';
import { TokenError } from './token-error.ts';

export type BootstrapLimits = typeof bootstrapLimits;

export interface BootstrapOptions {
  readonly host: string;
  readonly port: number;
  readonly limits?: BootstrapLimits;
}

export interface BootstrapComponents {
  readonly authority: CertificateAuthority;
  readonly tokens: TokenIssuer;
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: CloudHubMetrics;
}

interface Answer {
  readonly status: number;
  readonly body: string | Uint8Array;
}

export class BootstrapServer {
  readonly #components: BootstrapComponents;
  readonly #limits: BootstrapLimits;
  readonly #named: NamedTokens;
  readonly #rolling: RollingToken;
  readonly #server: Server;
  readonly #strangers: Strangers;

  private constructor(options: BootstrapOptions, components: BootstrapComponents) {
    this.#components = components;
    this.#limits = options.limits ?? bootstrapLimits;
    this.#named = new NamedTokens(components);
    this.#rolling = new RollingToken({ ...components, issuer: components.tokens });
    const { authority } = components;
    this.#server = createServer(
      {
        ...authority.tls,
        minVersion: 'TLSv1.2',
        requestCert: true,
        // Who joins has no certificate yet: each handler that needs one looks at `authorized`.
        rejectUnauthorized: false,
        handshakeTimeout: this.#limits.handshakeTimeoutMs,
        maxHeaderSize: this.#limits.headerBytesMax,
        headersTimeout: this.#limits.handshakeTimeoutMs,
        requestTimeout: this.#limits.requestTimeoutMs,
        connectionsCheckingInterval: this.#limits.checkIntervalMs,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = this.#limits.connectionsMax;
    const { clock, metrics } = components;
    const turnedAway = (why: TurnedAway) => metrics.refusals.inc({ status: why });
    this.#strangers = new Strangers(this.#limits, { clock, turnedAway });
    this.#strangers.watch(this.#server);
  }

  /** @throws TransportError `port-taken` */
  static async start(options: BootstrapOptions, components: BootstrapComponents): Promise<BootstrapServer> {
    const bootstrap = new BootstrapServer(options, components);
    const { host, port } = options;
    await new Promise<void>((resolve, reject) => {
      bootstrap.#server.once('error', (error) => {
        const detail = { code: 'port-taken', host, port } as const;
        const taken = 'code' in error && error.code === 'EADDRINUSE';
        reject(taken ? new TransportError(`${host}:${port} is taken`, detail, { cause: error }) : error);
      });
      bootstrap.#server.listen(port, host, resolve);
    });
    return bootstrap;
  }

  get port(): number {
    // Only a server on a pipe has a text here.
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => response.destroy());
    let answer: Answer;
    try {
      answer = await this.#answer(request);
    } catch (error) {
      answer = this.#failure(error);
    }
    this.#components.metrics.joinRequests.inc({ status: answer.status });
    if (!isOwnFault(answer.status)) this.#strangers.know(request.socket);
    response.writeHead(answer.status, {
      'Content-Type':
        typeof answer.body === 'string' ? 'text/plain; charset=utf-8' : 'application/octet-stream',
      'Content-Length': Buffer.byteLength(answer.body),
      Connection: 'close',
      ...(answer.status === 401 ? { 'WWW-Authenticate': 'Bearer' } : {}),
    });
    response.end(answer.body);
  }

  #answer(request: IncomingMessage): Answer | Promise<Answer> {
    const [path] = (request.url ?? '').split('?');
    if (request.method !== 'GET') return text(405, 'only GET is served here');
    if (path === '/ca.crt') return { status: 200, body: this.#components.authority.certificate };
    if (path === '/edge.crt') return this.#sign(request);
    if (path === '/readyz') return text(200, 'ok');
    const node = /^\/node\/([^/]+)$/.exec(path ?? '')?.[1];
    if (node !== undefined) return this.#mayJoin(node, request);
    return text(404, 'no such path');
  }

  async #mayJoin(node: string, request: IncomingMessage): Promise<Answer> {
    if (!isNodeName(node)) return text(400, 'not a node name');
    const held = await machineOf(this.#components.api, node);
    if (!held.exists) return text(404, 'Node not found');
    const asker = header(request, machineHeader);
    if (asker !== undefined && asker === held.machine) return text(404, 'Node is of this machine');
    return text(200, 'Node exists');
  }

  async #sign(request: IncomingMessage): Promise<Answer> {
    const node = header(request, 'NodeName') ?? '';
    const machine = header(request, machineHeader);
    if (!isNodeName(node)) return text(400, 'the header NodeName names no node');
    if (machine !== undefined && !isMachine(machine))
      return text(400, 'the header Hawser-Machine is malformed');

    const present = this.#presentNode(request);
    let namedToken: string | undefined;
    if (present === undefined) {
      const token = await this.#components.tokens.verify(bearer(request));
      if (token.kind === 'rolling') await this.#rolling.check(token.generation);
      else {
        namedToken = token.id;
        await this.#named.check(namedToken, node);
      }
      const { machine: held } = await machineOf(this.#components.api, node);
      if (held !== undefined && held !== machine) {
        return text(
          403,
          `the name ${node} is in use by machine ${held.slice(0, 12)}; choose another with --edgenode-name, or delete that node first (kubectl delete node ${node})`,
        );
      }
    } else if (present.node !== node) {
      return text(403, `the certificate of node ${present.node} cannot ask for one of node ${node}`);
    } else if (present.expired && !(await this.#isStill(present))) {
      return text(401, `the certificate of node ${node} has expired, and there is no such Node any more`);
    }
    const body = await this.#readBody(request);
    if (body === undefined)
      return text(413, `a certificate request has at most ${this.#limits.bodyBytesMax} bytes`);
    const subject = { node, machine: machine ?? present?.machine };
    const certificate = await this.#components.authority.sign(body, subject);
    // Counted last, so that a request that cannot be signed costs no use, and before the certificate is given away.
    if (namedToken !== undefined) await this.#named.use(namedToken, node);
    this.#components.log.info(
      { node, by: present === undefined ? `token ${namedToken ?? 'default'}` : 'certificate' },
      'signed a certificate',
    );
    return { status: 200, body: certificate };
  }

  #presentNode({ socket }: IncomingMessage): PresentNode | undefined {
    if (!(socket instanceof TLSSocket)) return undefined;
    const { authority, clock } = this.#components;
    return presentCertificate(socket, authority.certificate, clock.now());
  }

  /** Whether the Node of an expired certificate exists, and is this machine yet. @throws KubeError */
  async #isStill({ node, machine }: PresentNode): Promise<boolean> {
    const held = await machineOf(this.#components.api, node);
    return held.exists && (held.machine === undefined || held.machine === machine);
  }

  /** Undefined when it is larger than allowed. */
  async #readBody(request: IncomingMessage): Promise<Uint8Array | undefined> {
    const { bodyBytesMax } = this.#limits;
    if (Number(request.headers['content-length'] ?? 0) > bodyBytesMax) return undefined;
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > bodyBytesMax) {
          request.pause();
          resolve(undefined);
        } else chunks.push(chunk);
      });
      request.on('end', () => resolve(Buffer.concat(chunks)));
      request.on('close', () => reject(new TransportError('gone', { code: 'closed', reason: 'gone' })));
    });
  }

  #failure(error: unknown): Answer {
    if (error instanceof TokenError) return text(401, error.message);
    if (error instanceof CertificateRequestError) return text(400, error.message);
    if (error instanceof TransportError) return text(400, 'the request ended early');
    this.#components.log.warn({ err: error }, 'join request failed');
    if (error instanceof KubeError)
      return text(503, `the Kubernetes API cannot be asked: ${describeError(error)}`);
    return text(500, 'internal error; cloudcore’s log has the reason');
  }
}

/** The scheme word is not looked at (wire 2.2). @throws TokenError when there is none */
function bearer(request: IncomingMessage): string {
  const parts = (request.headers.authorization ?? '').split(' ', 3);
  const [, token] = parts;
  if (parts.length === 2 && token) return token;
  throw new TokenError('no token was sent; pass the one that `keadm gettoken` prints on the cloud', {
    code: 'token-malformed',
  });
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name.toLowerCase()];
  return typeof value === 'string' ? value : undefined;
}

/** What an honest joiner does not get, or not often; a node that is not there yet is its 404. */
function isOwnFault(status: number): boolean {
  return status >= 400 && status < 500 && status !== 404;
}

function text(status: number, body: string): Answer {
  return { status, body: `${body}\n` };
}
