/**
 * What one session notes in the delivery ledger: that an object is about to be sent, and what became of it. Only
 * for KubeEdge edges; one of ours says itself what it holds.
 */

import { z } from 'zod';
import { ProtocolError } from '#protocol/errors.ts';
import type { Envelope } from '#protocol/message.ts';
import { operation } from '#protocol/names.ts';
import { type ObjectPath, parseObjectPath } from '#protocol/resource-path.ts';
import type { DeliveryLedger } from '../kube/delivery-ledger.ts';

/** Answers whose acknowledgement may still come; KubeEdge edges acknowledge them within a second or never. */
const answersMax = 256;

const identity = z.looseObject({ metadata: z.looseObject({ uid: z.string() }) });

interface Sent {
  readonly path: ObjectPath;
  readonly envelope: Envelope;
}

export class DeliveryNotes {
  readonly #node: string;
  readonly #ledger: DeliveryLedger;
  readonly #answers = new Map<string, Sent>();

  constructor(node: string, ledger: DeliveryLedger) {
    this.#node = node;
    this.#ledger = ledger;
  }

  /** @throws KubeError, CancelledError: it must not be sent now */
  async beforeSending({ path, envelope }: Sent): Promise<void> {
    const uid = uidOf(envelope);
    if (envelope.route.operation !== operation.delete && uid !== undefined)
      await this.#ledger.intend(this.#node, path, uid);
  }

  /** An answer that hands out an object is acknowledged too (wire 7.2); the others are not of interest. */
  answering(envelope: Envelope): void {
    if (envelope.route.operation !== operation.response || envelope.header.resourceversion === undefined)
      return;
    const path = pathOf(envelope);
    if (path === undefined || uidOf(envelope) === undefined) return;
    this.#answers.set(envelope.header.msg_id, { path, envelope });
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= answersMax) break;
      this.#answers.delete(oldest);
    }
  }

  acknowledged(messageId: string, sent = this.#answers.get(messageId)): void {
    this.#answers.delete(messageId);
    const uid = sent === undefined ? undefined : uidOf(sent.envelope);
    if (sent === undefined || uid === undefined) return;
    const { header, route } = sent.envelope;
    if (route.operation === operation.delete) this.#ledger.removed(this.#node, sent.path, uid);
    else if (header.resourceversion !== undefined)
      this.#ledger.acknowledged(this.#node, sent.path, uid, header.resourceversion);
  }
}

function uidOf({ content }: Envelope): string | undefined {
  return identity.safeParse(content).data?.metadata.uid;
}

function pathOf({ route }: Envelope): ObjectPath | undefined {
  try {
    return parseObjectPath(route.resource);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}
