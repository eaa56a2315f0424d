/**
 * Caps and periods of everything that takes something in from outside, each with its reason, and those that both
 * ends must agree on. Caps inside of one module stand beside that module's code, those of the embedded API server in
 * apiserver/limits.ts. limits.test.ts holds the relations between them.
 */

/** A frame on the wire. */
export const frameLimits = {
  /** KubeEdge's WebSocket has no cap and its packed framing 32 MiB; an object in etcd has at most 1.5 MiB, lists are larger. */
  bytesMax: 32 * 1024 * 1024,
  /** Objects nest some 20 deep and CRD schemas some 60; what is deeper is an attack on recursive code. */
  depthMax: 128,
} as const;

/** Payload of a message from MQTT or to it. */
export const mqttLimits = {
  /** A twin update of a device with a few thousand properties; far below what a frame may carry. */
  payloadBytesMax: 1024 * 1024,
  depthMax: 32,
} as const;

/** What goes through rules (wire 9). */
export const ruleLimits = {
  /** A body at the router's port: KubeEdge's cap. */
  bodyBytesMax: 12 * 1024 * 1024,
  /** A body that ServiceBus takes, from the cloud or from an app (CVE-2022-31073). */
  serviceBusBodyBytesMax: 1024 * 1024,
  /** An answer, of an app at the edge or of a REST target: KubeEdge reads five megabytes. */
  answerBytesMax: 5 * 1024 * 1024,
  /** A path, a topic or a URL of a Rule; what names a resource on the wire is not longer. */
  resourceCharsMax: 2_048,
  pathSegmentsMax: 64,
  /** Topics and URLs that rules may ask of one edge. */
  topicsMax: 1_000,
  urlsMax: 1_000,
} as const;

/** A listener of plain HTTP: the router's port, and ServiceBus for apps. */
export const httpListenerLimits = {
  connectionsMax: 256,
  headerBytesMax: 16 * 1024,
  headersTimeoutMs: 10_000,
  /** With a body of the largest size, over a bad link. */
  requestTimeoutMs: 60_000,
  checkIntervalMs: 1_000,
} as const;

/** What a transport takes in before it stops reading the socket, and lets out before it refuses to add. */
export const connectionLimits = {
  /** Frames read and not pulled yet. Small: the peer's kernel and ours buffer too. */
  unreadFramesMax: 64,
  unreadBytesMax: 1024 * 1024,
  /** Answers to the peer's pings stop when this much is unsent: a peer that pings and does not read costs no memory. */
  pongBufferBytesMax: 64 * 1024,
  /** Text of a refusal that we read. */
  refusalBytesMax: 4 * 1024,
  /** Pieces of one frame: each costs memory of its own, and no peer we know sends more than one. */
  fragmentsMax: 1024,
  /** How long an orderly close may take before the socket is destroyed. */
  closeTimeoutMs: 2_000,
} as const;

/** A listener that anybody can reach, until the peer has said who it is. */
export interface ListenerLimits {
  /** Line and headers of a request; those of an edge have some 600 bytes. */
  readonly headerBytesMax: number;
  /** TLS, and then the request; also for a peer that sends a byte now and then. */
  readonly handshakeTimeoutMs: number;
  /** How often the times of open requests are looked at: the most that a timeout may be late. */
  readonly checkIntervalMs: number;
  /** Beyond so many unfinished handshakes the oldest is dropped: an honest one takes a second, or a few on a bad link. */
  readonly handshakesMax: number;
  /**
   * Beyond so many of one address its own oldest is dropped, so that one address never takes all places. Edges that
   * are let in do not count: behind one address there may be any number of them, and this many may come at once.
   */
  readonly handshakesPerAddressMax: number;
  /** How often one address may fail to say who it is, at once and then a second; more are closed unheard. */
  readonly failuresBurst: number;
  readonly failuresPerSecond: number;
  /** Addresses that failures are remembered of; the longest unseen is forgotten first. */
  readonly addressesMax: number;
}

/** CloudHub's WebSocket port. */
export const listenerLimits: ListenerLimits = {
  headerBytesMax: 16 * 1024,
  handshakeTimeoutMs: 20_000,
  checkIntervalMs: 2_000,
  handshakesMax: 1536,
  // All nodes that a cloudcore takes unless told otherwise, behind one NAT, in the second in which the link is back.
  handshakesPerAddressMax: 1024,
  // Edges with an old CA behind one address try every half minute; a fleet of a thousand stays below this.
  failuresBurst: 256,
  failuresPerSecond: 32,
  addressesMax: 10_000,
};

/** Liveness between the two ends (wire 3.3). */
export const keepaliveLimits = {
  /** The edge's beat at a KubeEdge cloud. */
  periodMs: 15_000,
  /**
   * Between our own ends, where it is a ping of the WebSocket and renews the node's Lease. The control plane looks
   * every few seconds whether a Lease was renewed in the last 40: so a node is found lost 35 to 50 s after its edge is.
   */
  sessionPeriodMs: 4_500,
  /** After so long without one a KubeEdge cloud ends the session. */
  deadlineMs: 30_000,
} as const;

/** Acknowledged delivery to an edge (wire 5.4, DESIGN 5). */
export const deliveryLimits = {
  /** Unacknowledged messages of one node, one of them a resource path. */
  windowMax: 32,
  resendAfterMs: 5_000,
  /** Sent again so often with the same id, then it goes back to the queue. */
  resendsMax: 4,
  /** A KubeEdge edge's inbound queue; it throws the oldest away beyond that, so the window stays well below. */
  kubeedgeInboundMax: 100,
  /** What a KubeEdge edge sends at most: a rate and a burst of messages (wire 3.3). */
  kubeedgeUpstreamPerSecond: 30,
  kubeedgeUpstreamBurst: 60,
  /**
   * What cloudcore takes from one edge; one that sends more is read more slowly. An edge of ours with 110 pods and
   * a thousand devices says all it has within the burst when it comes back.
   */
  upstreamPerSecond: 500,
  upstreamBurst: 4_000,
  /** Messages no edge may send; one that goes on sending them is disconnected. */
  malformedPerMinuteMax: 30,
} as const;

/** Requests that wait for an answer of the peer (wire 4.4). */
export const requestLimits = {
  timeoutMs: 60_000,
} as const;

/** Inboxes on a daemon's bus: how many envelopes may wait or be in work. */
export const inboxLimits = {
  /** The only one that pauses the socket; a window of the cloud plus what edged asks at a start with many pods. */
  metaManager: 256,
  /** Larger than MetaManager's, so that what it forwards finds room in the common case. */
  edged: 512,
  edgeHub: 1_024,
  /** All nodes share these: a reconnect of a thousand edges arrives within seconds. */
  cloudHub: 16_384,
  edgeController: 16_384,
  deviceController: 16_384,
  router: 16_384,
  /** Each with a body. */
  serviceBus: 64,
} as const;

/** The bootstrap endpoints (10002): nobody is known there, so each connection is for one request. */
export const bootstrapLimits: ListenerLimits & {
  readonly connectionsMax: number;
  readonly bodyBytesMax: number;
  readonly requestTimeoutMs: number;
} = {
  ...listenerLimits,
  /** More than handshakesMax: there, the oldest goes; here, nobody comes in. */
  connectionsMax: 1024,
  handshakesMax: 768,
  handshakesPerAddressMax: 512,
  /** A P-256 request has some 350 bytes; other keys a few thousand. */
  bodyBytesMax: 16 * 1024,
  handshakeTimeoutMs: 10_000,
  requestTimeoutMs: 20_000,
  checkIntervalMs: 1_000,
};

/** What an edge reads of the bootstrap endpoints' answers; a certificate has about a thousand bytes. */
export const bootstrapAnswerLimits = {
  bytesMax: 64 * 1024,
} as const;

/** `/metrics` and `/healthz` of a daemon: a scraper, a probe and a person. */
export const monitorLimits = {
  connectionsMax: 32,
  headerBytesMax: 8 * 1024,
  requestTimeoutMs: 10_000,
  checkIntervalMs: 1_000,
} as const;

/** The embedded MQTT broker; its clients are programs on the same machine. */
export const brokerLimits = {
  clientsMax: 128,
  /** Sessions that are kept for clients that come and go (clean session off). */
  sessionsMax: 128,
  /** A new session takes the place of one whose client has been away for at least so long, else it is refused. */
  sessionAwayMinMs: 60 * 60_000,
  /** Subscriptions of all sessions: each is looked at for each message. */
  sessionSubscriptionsMax: 4_096,
  /** Messages that wait in all sessions. */
  sessionBytesMax: 16 * 1024 * 1024,
  /** Messages that a connected client with a session was sent and has not acknowledged; then it is disconnected. */
  unacknowledgedMax: 1_000,
  /** Messages of one client, QoS 2, that it has not released. */
  unfinishedMax: 1_000,
  /** Until CONNECT is there. */
  connectTimeoutMs: 10_000,
  /** After so long a silence TCP asks whether the client is there. */
  keepAliveMs: 60_000,
  /** A payload with its topic and header. */
  packetBytesMax: mqttLimits.payloadBytesMax + 4 * 1024,
  /** What a client leaves unread; one that leaves more is disconnected. */
  unreadBytesMax: 4 * 1024 * 1024,
  /** The longest topic of ours has some 600 bytes: two names of 253 characters. */
  topicBytesMax: 1024,
  topicLevelsMax: 32,
  subscriptionsPerClientMax: 256,
  retainedMax: 1_000,
  retainedBytesMax: 8 * 1024 * 1024,
  clientIdBytesMax: 256,
} as const;

/** A config file, a manifest, a request body in YAML. */
export const yamlLimits = {
  /** Larger objects than a megabyte are sent as JSON, which is read a hundred times as fast. */
  bytesMax: 1024 * 1024,
  /** Open lists and maps, each of which counts for two; CRD schemas nest some 60 deep. */
  depthMax: 256,
  /** Resolved aliases; beyond that a text of a few lines could become gigabytes. */
  aliasesMax: 100,
} as const;

/** The folder of static pods at an edge. What is beyond is not read, and the log says so. */
export const staticPodLimits = {
  /** A pod in the API has at most 1.5 MiB, and what has half a megabyte is hardly written by hand. */
  fileBytesMax: 512 * 1024,
  /** A kubelet runs 110 pods of every kind by default. */
  filesMax: 64,
} as const;

/** `session/held`: what an edge says it holds. */
export const sessionLimits = {
  /** 110 pods with their references, and devices; at some 160 bytes each well inside one frame. */
  heldObjectsMax: 50_000,
} as const;
