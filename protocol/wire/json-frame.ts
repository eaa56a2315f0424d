/**
 * WebSocket framing: one envelope as JSON with a line end, one a frame (wire 3.1). The envelope's shape is
 * checked, its content only for size and depth.
 */

import { ProtocolError } from '../errors.ts';
import { frameLimits } from '../limits.ts';
import { type Envelope, envelopeSchema } from '../message.ts';
import { checkBytes, type JsonLimits, parseJson } from './json.ts';

/** @throws ProtocolError `frame-too-large`, or `malformed-frame` when the content is not JSON */
export function encodeFrame(envelope: Envelope, limits: JsonLimits = frameLimits): string {
  let text: string;
  try {
    // Go writes an absent content as null, and its readers expect the key.
    text = `${JSON.stringify({ ...envelope, content: envelope.content ?? null })}\n`;
  } catch (error) {
    const { operation, resource } = envelope.route;
    throw new ProtocolError(
      `content of ${operation} ${resource} cannot be written as JSON`,
      { code: 'malformed-frame', reason: 'content is not JSON' },
      { cause: error },
    );
  }
  checkBytes(text, limits.bytesMax);
  return text;
}

/** @throws ProtocolError `frame-too-large`, `malformed-frame` */
export function decodeFrame(text: string, limits: JsonLimits = frameLimits): Envelope {
  const parsed = envelopeSchema.safeParse(parseJson(text, limits));
  if (!parsed.success) {
    const reason = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
    throw new ProtocolError(`not an envelope: ${reason}`, { code: 'malformed-frame', reason });
  }
  return withoutEmptyParent(parsed.data);
}

/** KubeEdge's edge sends an empty frame when it stops, and no close frame. */
export function isFarewell(bytes: Uint8Array): boolean {
  return bytes.byteLength === 0;
}

/** Go peers may write "no parent" as an empty string; here it is absent, so that nobody mistakes it for an answer. */
function withoutEmptyParent(envelope: Envelope): Envelope {
  if (envelope.header.parent_msg_id !== '') return envelope;
  const { parent_msg_id: _none, ...header } = envelope.header;
  return { ...envelope, header };
}
