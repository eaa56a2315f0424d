/**
 * One edge without anything behind it: what a KubeEdge edge (or one of ours) says over its WebSocket, and nothing
 * of what it does. Registers, keeps its lease, reports its status, acknowledges what it is sent and reports pods
 * Running. Counts the bytes of its frames.
 */

import { randomUUID } from 'node:crypto';
import { WebSocket } from 'ws';
import { z } from 'zod';

export type EdgeKind = 'kubeedge' | 'hawser';

export interface EdgeIdentity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Bytes of WebSocket frames, which is what TLS carries. */
export interface Traffic {
  upBytes: number;
  downBytes: number;
  upFrames: number;
  downFrames: number;
}

interface Frame {
  readonly header: {
    readonly msg_id: string;
    readonly parent_msg_id?: string;
    readonly timestamp: number;
    readonly resourceversion?: string;
  };
  readonly route: {
    readonly source: string;
    readonly group: string;
    readonly operation: string;
    readonly resource: string;
  };
  readonly content: unknown;
}

const keepaliveMs = 15_000;
/** Between our own ends a ping is the beat. */
const pingMs = 4_500;
const leaseRenewalMs = 10_000;
const statusMs = 300_000;
/** As long as the fastest container takes to start. */
const podStartMs = 1_000;
const requestTimeoutMs = 60_000;

const objectSchema = z.looseObject({ metadata: z.looseObject({ uid: z.string() }) });
const responseSchema = z.looseObject({
  Object: z.unknown(),
  Err: z.looseObject({ ErrStatus: z.looseObject({ reason: z.string() }) }).nullish(),
});

export class SimulatedEdge {
  readonly node: string;
  readonly #kind: EdgeKind;
  readonly #traffic: Traffic;
  readonly #received: (resource: string, operation: string) => void;
  readonly #waiting = new Map<string, (content: unknown) => void>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #socket: WebSocket | undefined;
  #nodeUid = '';
  #pings = 0;
  #lease: object = {};

  constructor(
    node: string,
    kind: EdgeKind,
    traffic: Traffic,
    received: (resource: string, operation: string) => void,
  ) {
    this.node = node;
    this.#kind = kind;
    this.#traffic = traffic;
    this.#received = received;
  }

  /** Resolves when the WebSocket is open. */
  async connect(port: number, identity: EdgeIdentity): Promise<void> {
    const headers = {
      node_id: this.node,
      project_id: 'e632aba927ea4ac2b575ec1603d56f10',
      ConnectionUse: 'msg',
      ...(this.#kind === 'hawser' ? { 'Hawser-Session': '1' } : {}),
    };
    const url = `wss://127.0.0.1:${port}/e632aba927ea4ac2b575ec1603d56f10/${this.node}/events`;
    const socket = new WebSocket(url, { ...identity, headers, perMessageDeflate: false });
    socket.on('message', (data: Buffer) => this.#take(data));
    socket.on('error', () => {});
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('close', (code, reason) => reject(new Error(`closed: ${code} ${reason}`)));
      socket.once('unexpected-response', (_, answer) => reject(new Error(`refused: ${answer.statusCode}`)));
    });
    this.#socket = socket;
    if (this.#kind === 'hawser') {
      this.#repeat(pingMs, async () => this.#ping());
      this.#sayHeld();
    } else {
      this.#keepalive();
      this.#repeat(keepaliveMs, async () => this.#keepalive());
    }
  }

  /** Resolves when the cloud has the Node and its lease; from then on both are kept up. */
  async register(): Promise<void> {
    const node = nodeOf(this.node);
    const answer = responseSchema.parse(await this.#ask('insert', `null/node/${this.node}`, node));
    const reason = answer.Err?.ErrStatus.reason;
    if (reason !== undefined && reason !== 'AlreadyExists') throw new Error(`register: ${reason}`);
    if (reason === undefined) this.#nodeUid = objectSchema.parse(answer.Object).metadata.uid;
    await this.#reportStatus();
    if (this.#kind === 'kubeedge') {
      await this.#openLease();
      this.#repeat(leaseRenewalMs, () => this.#renewLease());
    }
    this.#repeat(statusMs, () => this.#reportStatus());
  }

  get isConnected(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    const socket = this.#socket;
    if (socket === undefined || socket.readyState === WebSocket.CLOSED) return;
    const gone = new Promise((resolve) => socket.once('close', resolve));
    socket.close();
    await gone;
  }

  /** At a random point of the first period, so that a fleet does not beat in step. */
  #repeat(everyMs: number, work: () => Promise<void>): void {
    const turn = (delayMs: number) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        turn(everyMs);
        work().catch(() => {});
      }, delayMs);
      this.#timers.add(timer);
    };
    turn(Math.random() * everyMs);
  }

  #keepalive(): void {
    this.#send('websocket', 'resource', 'keepalive', 'node', 'ping');
  }

  #ping(): void {
    this.#pings += 1;
    const text = String(this.#pings);
    this.#traffic.upFrames += 1;
    this.#traffic.upBytes += frameBytes(text.length, true);
    this.#traffic.downBytes += frameBytes(text.length, false);
    this.#socket?.ping(text);
  }

  #sayHeld(): void {
    this.#send('metamanager', 'session', 'update', 'session/held', { epoch: null, objects: [] });
  }

  async #reportStatus(): Promise<void> {
    const patch = JSON.stringify({ status: { conditions: conditions() } });
    await this.#ask('patch', `null/nodepatch/${this.node}`, patch);
  }

  async #openLease(): Promise<void> {
    const resource = `kube-node-lease/lease/${this.node}`;
    const found = responseSchema.parse(await this.#ask('query', resource, null));
    if (found.Err == null && found.Object !== null) this.#lease = found.Object as object;
    else await this.#writeLease('insert');
  }

  async #renewLease(): Promise<void> {
    await this.#writeLease('update');
  }

  async #writeLease(operation: 'insert' | 'update'): Promise<void> {
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name: this.node, uid: this.#nodeUid }];
    const metadata = { name: this.node, namespace: 'kube-node-lease', ownerReferences };
    const renewTime = new Date().toISOString().replace('Z', '000Z');
    const spec = { holderIdentity: this.node, leaseDurationSeconds: 40, renewTime };
    const lease = operation === 'insert' ? { metadata, spec } : { ...this.#lease, spec };
    const content = await this.#ask(operation, `kube-node-lease/lease/${this.node}`, lease);
    const answer = responseSchema.parse(content);
    if (answer.Err == null && answer.Object !== null) this.#lease = answer.Object as object;
  }

  #take(data: Buffer): void {
    this.#traffic.downFrames += 1;
    this.#traffic.downBytes += frameBytes(data.byteLength, false);
    // What a cloud sends over a connection that it has authenticated is taken at its word here.
    const frame = JSON.parse(data.toString('utf8')) as Frame;
    const parent = frame.header.parent_msg_id;
    if (parent) {
      this.#waiting.get(parent)?.(frame.content);
      this.#waiting.delete(parent);
      return;
    }
    const { source, group, operation, resource } = frame.route;
    if (group !== 'resource') return;
    this.#received(resource, operation);
    this.#send(source, group, 'response', resource, 'OK', frame.header.msg_id);
    const [namespace, type, name] = resource.split('/');
    if (type === 'node') this.#nodeUid = objectSchema.parse(frame.content).metadata.uid;
    if (type === 'pod' && operation !== 'delete')
      this.#runPod(`${namespace}/podpatch/${name}`, frame.content);
  }

  #runPod(resource: string, pod: unknown): void {
    const { uid } = objectSchema.parse(pod).metadata;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      const patch = JSON.stringify({ metadata: { uid }, status: runningStatus() });
      this.#ask('patch', resource, patch).catch(() => {});
    }, podStartMs);
    this.#timers.add(timer);
  }

  async #ask(operation: string, resource: string, content: unknown): Promise<unknown> {
    return await new Promise((resolve, reject) => {
      const id = this.#send('edged', 'meta', operation, resource, content);
      const late = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`no answer to ${operation} ${resource}`));
      }, requestTimeoutMs);
      this.#waiting.set(id, (answer) => {
        clearTimeout(late);
        resolve(answer);
      });
    });
  }

  #send(
    source: string,
    group: string,
    operation: string,
    resource: string,
    content: unknown,
    parentId?: string,
  ): string {
    const id = randomUUID();
    const header = {
      msg_id: id,
      ...(parentId === undefined ? {} : { parent_msg_id: parentId }),
      timestamp: Date.now(),
    };
    const text = `${JSON.stringify({ header, route: { source, group, operation, resource }, content })}\n`;
    this.#traffic.upFrames += 1;
    this.#traffic.upBytes += frameBytes(Buffer.byteLength(text), true);
    if (this.isConnected) this.#socket?.send(text);
    return id;
  }
}

/** A frame's payload with its header; a client masks. */
function frameBytes(payload: number, masked: boolean): number {
  const length = payload < 126 ? 0 : payload < 65_536 ? 2 : 8;
  return 2 + length + (masked ? 4 : 0) + payload;
}

function nodeOf(name: string): object {
  const labels = {
    'kubernetes.io/hostname': name,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': 'amd64',
    'node-role.kubernetes.io/edge': '',
    'node-role.kubernetes.io/agent': '',
  };
  const resources = { cpu: '4', memory: '8Gi', pods: '110' };
  return {
    metadata: { name, labels },
    spec: {},
    status: {
      capacity: resources,
      allocatable: resources,
      conditions: conditions(),
      addresses: [
        { type: 'InternalIP', address: '192.168.1.20' },
        { type: 'Hostname', address: name },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: 10350 } },
      nodeInfo: {
        machineID: randomUUID(),
        systemUUID: randomUUID(),
        bootID: randomUUID(),
        kernelVersion: '6.1.0',
        osImage: 'Debian GNU/Linux 12 (bookworm)',
        containerRuntimeVersion: 'containerd://1.6.20',
        kubeletVersion: 'v1.32.10-kubeedge-v1.23.1',
        kubeProxyVersion: '',
        operatingSystem: 'linux',
        architecture: 'amd64',
      },
    },
  };
}

function conditions(): object[] {
  const lastHeartbeatTime = new Date().toISOString();
  const condition = (type: string, status: string, reason: string) => ({
    type,
    status,
    reason,
    message: `kubelet says ${reason}`,
    lastHeartbeatTime,
    lastTransitionTime: '2026-01-01T00:00:00Z',
  });
  return [
    condition('MemoryPressure', 'False', 'KubeletHasSufficientMemory'),
    condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure'),
    condition('PIDPressure', 'False', 'KubeletHasSufficientPID'),
    condition('Ready', 'True', 'KubeletReady'),
  ];
}

function runningStatus(): object {
  const startedAt = new Date().toISOString();
  const condition = (type: string) => ({
    type,
    status: 'True',
    lastProbeTime: null,
    lastTransitionTime: startedAt,
  });
  return {
    phase: 'Running',
    hostIP: '192.168.1.20',
    podIP: '10.88.0.7',
    podIPs: [{ ip: '10.88.0.7' }],
    startTime: startedAt,
    conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(condition),
    containerStatuses: [
      {
        name: 'main',
        image: 'nginx:1.25',
        imageID: 'sha256:0000',
        containerID: `containerd://${randomUUID()}`,
        ready: true,
        started: true,
        restartCount: 0,
        state: { running: { startedAt } },
        lastState: {},
      },
    ],
  };
}
