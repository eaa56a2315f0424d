/**
 * The nodes that are connected: who may connect, and which session is a node's. The newest wins: it takes the
 * place of the one before, which is ended, and an ended session takes away nothing but itself. The controllers
 * hear of each node that comes and of each that goes.
 *
 * The identity of a peer is the certificate it proved to own; the header `node_id` must only say the same.
 */

import { aborted } from '#beehive/abort.ts';
import type { Bus } from '#beehive/bus.ts';
import type { Log } from '#beehive/log.ts';
import { acknowledge, type Envelope, newEnvelope, replyError } from '#protocol/message.ts';
import { group, source } from '#protocol/names.ts';
import {
  ackHeader,
  agreesToSession,
  machineHeader,
  type SessionKind,
  sessionHeader,
  sessionVersion,
  upgradeHeader,
} from '#protocol/session.ts';
import type { Admission, Connection, UpgradeRequest } from '#protocol/transport/transport.ts';
import { type Controller, dispatchDown } from './dispatcher.ts';
import { NodeSession, type SessionComponents, type SessionOptions } from './node-session.ts';
import { type NodeSubject, readNodeSubject } from './pki.ts';

export interface SessionsOptions extends SessionOptions {
  readonly nodesMax: number;
}

export interface SessionsComponents extends Omit<SessionComponents, 'forward' | 'handed'> {
  readonly bus: Bus;
  /** The controllers that run in this cloudcore. */
  readonly controllers: readonly Controller[];
  /** Told once for each session, with a signal that says when it is over. */
  readonly connected: (peer: NodeSubject, over: AbortSignal) => void;
  readonly log: Log;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #components: SessionsComponents;
  readonly #byNode = new Map<string, NodeSession>();
  /** By which name its machine came, where it gave one. */
  readonly #machines = new WeakMap<NodeSession, string>();

  constructor(options: SessionsOptions, components: SessionsComponents) {
    this.#options = options;
    this.#components = components;
  }

  admit(request: UpgradeRequest): Admission {
    const admission = this.#decide(request);
    if (!admission.accept) {
      this.#components.metrics.refusals.inc({ status: admission.status });
      this.#components.log.warn({ remote: request.remote, reason: admission.reason }, 'refused a connection');
    }
    return admission;
  }

  /** Resolves when the connection's session has ended. */
  async serve(connection: Connection): Promise<void> {
    const { metrics, log, connected } = this.#components;
    const peer = readNodeSubject(connection.peerCertificate ?? new Uint8Array());
    if (peer === undefined) {
      await connection.close('no node certificate');
      return;
    }
    const kind: SessionKind = agreesToSession(connection.headers) ? 'hawser' : 'kubeedge';
    const session = new NodeSession({ node: peer.node, kind, connection }, this.#options, {
      ...this.#components,
      forward: (to, envelope, over) => this.#forward(to, envelope, over),
      handed: (envelope, failure) => this.#tellSender(envelope, failure),
    });
    const machine = machineIn(connection.headers);
    if (machine !== undefined) this.#machines.set(session, machine);
    const before = this.#byNode.get(peer.node);
    this.#byNode.set(peer.node, session);
    before?.end('replaced by a newer connection of this node');
    metrics.sessions.set(this.#byNode.size);
    log.info({ node: peer.node, remote: connection.remote, session: kind }, 'node connected');
    connected(peer, session.over);
    this.#components.ledger.served(peer.node, kind);
    void this.#tell(session, 'connected');
    const running = session.run();
    // A link that is dead is not closed by its peer: that it is over is known before.
    await aborted(session.over);
    const left = this.#byNode.get(peer.node) === session ? this.#leave(session) : undefined;
    const reason = await running;
    log.info({ node: peer.node, remote: connection.remote, reason }, 'node disconnected');
    await left;
  }

  #leave(session: NodeSession): Promise<void> {
    this.#byNode.delete(session.node);
    this.#components.metrics.sessions.set(this.#byNode.size);
    return this.#tell(session, 'disconnected');
  }

  /** Takes what a controller has for a node; for one that is not connected it is dropped, see node-session.ts. */
  route(envelope: Envelope): void {
    const down = dispatchDown(envelope);
    const session = this.#byNode.get(down.node);
    if (session === undefined) {
      this.#components.metrics.undeliverable.inc();
      this.#tellSender(envelope, 'the node is not connected');
      return;
    }
    if (down.kind === 'nodeDeleted') session.end('its Node was deleted');
    else if (down.kind === 'object') session.offer(down.envelope);
    else session.post(down.envelope);
  }

  /** Rules wait for their messages to leave: they must not pile up, and who asked is told when they cannot. */
  #tellSender(envelope: Envelope, failure: string | undefined): void {
    if (envelope.route.group !== group.user) return;
    const { bus } = this.#components;
    bus.answer(failure === undefined ? acknowledge(envelope) : replyError(envelope, failure));
  }

  endAll(reason: string): void {
    for (const session of this.#byNode.values()) session.end(reason);
  }

  #decide({ headers, peerCertificate }: UpgradeRequest): Admission {
    const peer = peerCertificate === undefined ? undefined : readNodeSubject(peerCertificate);
    if (peer === undefined) {
      const reason = 'the client certificate is not a node’s (O=system:nodes, CN=system:node:<name>)';
      return { accept: false, status: 401, reason };
    }
    const claimed = headers[upgradeHeader.nodeId];
    if (claimed !== peer.node) {
      const reason = `the certificate is of node ${peer.node}, but the header ${upgradeHeader.nodeId} names another; join again under the right name`;
      return { accept: false, status: 403, reason };
    }
    const live = this.#byNode.get(peer.node);
    const [its, theirs] = [live && this.#machines.get(live), machineIn(headers)];
    if (its !== undefined && theirs !== undefined && its !== theirs) {
      const reason = `node ${peer.node} is connected from another machine; a copied certificate makes no second node: keadm reset edge, then join under a name of its own (--edgenode-name)`;
      return { accept: false, status: 409, reason };
    }
    if (live === undefined && this.#byNode.size >= this.#options.nodesMax) {
      const reason = `${this.#options.nodesMax} nodes are connected, and modules.cloudHub.nodeLimit allows no more`;
      return { accept: false, status: 503, reason };
    }
    return {
      accept: true,
      ...(agreesToSession(headers) ? { headers: { [sessionHeader]: sessionVersion } } : {}),
    };
  }

  async #forward(to: readonly Controller[], envelope: Envelope, over: AbortSignal): Promise<void> {
    const { controllers, metrics } = this.#components;
    const present = to.filter((controller) => controllers.includes(controller));
    if (present.length === 0) {
      metrics.dropped.inc({ reason: 'no-module' });
      // An edge of ours would keep it for ever.
      if (envelope.header[ackHeader] === true) this.route(acknowledge(envelope));
    }
    for (const controller of present) await this.#hand(controller, envelope, () => over.aborted);
  }

  async #tell(session: NodeSession, operation: 'connected' | 'disconnected'): Promise<void> {
    const resource = `node/${session.node}`;
    const route = { source: source.cloudHub, group: group.resource, operation, resource };
    const timestampMs = this.#components.clock.now();
    const news = newEnvelope(route, { session: session.kind }, { timestampMs });
    const current = operation === 'connected' ? session : undefined;
    const isOld = () => this.#byNode.get(session.node) !== current;
    for (const controller of this.#components.controllers) await this.#hand(controller, news, isOld);
  }

  /** Waits for room in the controller's inbox, unless the message has lost its sense meanwhile. */
  async #hand(controller: Controller, envelope: Envelope, isOld: () => boolean): Promise<void> {
    const { bus } = this.#components;
    while (!isOld() && bus.send(controller, envelope) === 'full') await bus.drained(controller);
  }
}

function machineIn(headers: Readonly<Record<string, string>>): string | undefined {
  return headers[machineHeader.toLowerCase()];
}
