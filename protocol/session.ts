/**
 * What only our own two ends say to each other. It is agreed by a header at the upgrade and its echo in the
 * answer; a KubeEdge peer never sees any of it.
 */

import { z } from 'zod';

/** Upgrade header, `1`, sent by the edge and echoed by CloudHub. */
export const sessionHeader = 'Hawser-Session';
export const sessionVersion = '1';
/** `hawser`: both ends agreed on that header. */
export type SessionKind = 'hawser' | 'kubeedge';

/** Who the machine is: hash of machine id and data directory; at `/node/{name}` and `/edge.crt`. */
export const machineHeader = 'Hawser-Machine';

/** Headers of a KubeEdge edge's upgrade (wire 1.1). Without `ConnectionUse: msg` a KubeEdge cloud never reads. */
export const upgradeHeader = {
  nodeId: 'node_id',
  projectId: 'project_id',
  connectionUse: 'ConnectionUse',
} as const;
export const connectionUse = 'msg';

/**
 * `true` in the header of a message that has no answer at KubeEdge: a cloud of ours answers once it is written, or
 * with an error; one that says `later` here is for a trouble that will pass.
 */
export const ackHeader = 'hawserAck';
export const ackLater = 'later';

/**
 * In the header of the answer to a status patch: the version since which the object has changed in nothing that an edge
 * reads, but for the status that the edge itself reported. Then the answer is not the object, but its metadata's
 * name, namespace, uid and resourceVersion.
 */
export const sinceHeader = 'hawserSince';

/**
 * In the header of the answer to what an app asked through ServiceBus: the status of the REST target, which has no
 * place in the answer of KubeEdge.
 */
export const statusHeader = 'hawserStatus';

/** Resource of the message by which an edge says, at connect, what it holds. */
export const heldResource = 'session/held';

export const heldObjectSchema = z.looseObject({
  /** `<namespace>/<type>/<name>` */
  path: z.string(),
  uid: z.string(),
  resourceVersion: z.string(),
});

/** Epoch of objects that came from a cloud which names none: a KubeEdge one. */
export const unknownEpoch = 'unknown';

/**
 * `epoch` is the uid of the namespace kube-system of the API that the objects came from; null when nothing is held and
 * none is known.
 */
export const heldSchema = z.looseObject({
  epoch: z.string().nullable(),
  objects: z.array(heldObjectSchema),
  /** MQTT topics that rules asked this edge to listen to, and URLs that its apps may ask for. */
  topics: z.array(z.string()).default([]),
  urls: z.array(z.string()).default([]),
});

export const heldAnswerSchema = z.looseObject({
  epoch: z.string(),
  /**
   * The edge's epoch, when the edge now belongs to this cluster: an operator has said so, or what it holds of an
   * unknown one turned out to be this one's.
   */
  accepted: z.string().optional(),
  /** The uids of all pods of the node, so that an edge which lost its store knows when it has them again. */
  pods: z.array(z.string()).optional(),
});

export type HeldObject = z.infer<typeof heldObjectSchema>;
export type Held = z.infer<typeof heldSchema>;
export type HeldAnswer = z.infer<typeof heldAnswerSchema>;

/** Whether the peer's headers (lower-case names) agree to our session. */
export function agreesToSession(headers: Readonly<Record<string, string>>): boolean {
  return headers[sessionHeader.toLowerCase()] === sessionVersion;
}
