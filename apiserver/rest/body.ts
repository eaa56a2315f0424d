/** Reads a request's body, bounded, and parses what the content type says it is. */

import type { IncomingMessage } from 'node:http';
import { parseYaml, YamlError } from '#beehive/yaml.ts';
import type { JsonValue } from '../kube-object.ts';
import { limits } from '../limits.ts';
import { decodeProtobuf, protobufMediaType } from '../protobuf/decode.ts';
import { badRequest, StatusError } from '../status-error.ts';

export interface Body {
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export async function readBody(request: IncomingMessage): Promise<Body> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving the loop early must not destroy the socket that the refusal goes out by.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    // Sockets without an encoding deliver buffers.
    const bytes = chunk as Buffer;
    size += bytes.length;
    if (size > limits.bodyBytes) {
      throw new StatusError('RequestEntityTooLarge', `the body is larger than ${limits.bodyBytes} bytes`);
    }
    chunks.push(bytes);
  }
  const mediaType = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  return { mediaType, bytes: Buffer.concat(chunks) };
}

/** @throws StatusError 415 for another content type, 400 for what is malformed. */
export function parseBody({ mediaType, bytes }: Body): JsonValue {
  switch (mediaType) {
    case '':
    case 'application/json':
      return parseJson(bytes);
    case 'application/yaml':
      return parseJsonOrYaml(bytes);
    case protobufMediaType:
      return checked(decodeProtobuf(bytes));
    default:
      throw unsupportedMediaType([`application/json`, 'application/yaml', protobufMediaType]);
  }
}

export function unsupportedMediaType(accepted: readonly string[]): StatusError {
  return new StatusError(
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  );
}

export function parseJson(bytes: Buffer): JsonValue {
  try {
    return checked(JSON.parse(bytes.toString('utf8')));
  } catch (error) {
    if (error instanceof SyntaxError) throw badRequest(`the body is not JSON: ${error.message}`, error);
    throw error;
  }
}

/** JSON is tried first: it is most of what is sent as YAML, and much quicker. */
export function parseJsonOrYaml(bytes: Buffer): JsonValue {
  if (bytes[0] === 0x7b) return parseJson(bytes);
  try {
    return checked(parseYaml(bytes.toString('utf8')));
  } catch (error) {
    if (error instanceof YamlError) throw badRequest(`the body is not YAML: ${error.message}`, error);
    throw error;
  }
}

/** Refuses what nests too deep, and keys that could reach a prototype. */
function checked(value: unknown): JsonValue {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > limits.depth) throw badRequest(`the body nests deeper than ${limits.depth} levels`);
    const next: unknown[] = [];
    for (const item of level) {
      if (typeof item !== 'object' || item === null) continue;
      if (Object.hasOwn(item, '__proto__')) throw badRequest('the body has a key "__proto__"');
      for (const inner of Object.values(item))
        if (typeof inner === 'object' && inner !== null) next.push(inner);
    }
    level = next;
  }
  // A value of JSON, YAML or protobuf is made of JSON values only.
  return value as JsonValue;
}
