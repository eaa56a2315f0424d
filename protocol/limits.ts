/**
 * Caps and periods that both ends must agree on or be able to rely on, each with its reason. Caps that only
 * one module cares about stand beside that module's code. limits.test.ts holds the relations between them.
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

/** What a transport takes in before it stops reading the socket, and lets out before it refuses to add. */
export const connectionLimits = {
  /** Frames read and not pulled yet. Small: the peer's kernel and ours buffer too. */
  unreadFramesMax: 64,
  unreadBytesMax: 1024 * 1024,
  /** Answers to the peer's pings stop when this much is unsent: a peer that pings and does not read costs no memory. */
  pongBufferBytesMax: 64 * 1024,
  /** Text of a refusal that we read. */
  refusalBytesMax: 4 * 1024,
  /** Sockets that may be in their TLS or HTTP handshake beyond the admitted connections. */
  handshakesMax: 128,
  handshakeTimeoutMs: 30_000,
  /** How long an orderly close may take before the socket is destroyed. */
  closeTimeoutMs: 2_000,
} as const;

/** Liveness between the two ends (wire 3.3). */
export const keepaliveLimits = {
  /** The edge's beat. */
  periodMs: 15_000,
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
} as const;

/** Bodies of the bootstrap endpoints (10002). */
export const bootstrapLimits = {
  /** A P-256 request has some 350 bytes; other keys a few thousand. */
  csrBytesMax: 16 * 1024,
  /** KubeEdge's own cap for task reports. */
  taskReportBytesMax: 3 * 1024 * 1024,
} as const;

/** `session/held`: what an edge says it holds. */
export const sessionLimits = {
  /** 110 pods with their references, and devices; at some 160 bytes each well inside one frame. */
  heldObjectsMax: 50_000,
} as const;
