/**
 * JSON patch, RFC 6902. Builds a new document and looks only at own fields, so that a pointer through `__proto__`
 * or `constructor` finds what the document has there, and nothing of JavaScript's.
 */

import { z } from 'zod';
import { isJsonObject, type JsonObject, type JsonValue } from '../kube-object.ts';
import { badRequest, StatusError } from '../status-error.ts';
import { jsonEqual } from './json-equal.ts';
import { checkNesting } from './nesting.ts';

/** As a Kubernetes API server has it. */
export const maxJsonPatchOperations = 10_000;

const pointer = z.string().regex(/^(\/|$)/, 'a JSON pointer is empty or starts with "/"');
const operationSchema = z.discriminatedUnion('op', [
  z.object({ op: z.literal('add'), path: pointer, value: z.json() }),
  z.object({ op: z.literal('replace'), path: pointer, value: z.json() }),
  z.object({ op: z.literal('test'), path: pointer, value: z.json() }),
  z.object({ op: z.literal('remove'), path: pointer }),
  z.object({ op: z.literal('move'), path: pointer, from: pointer }),
  z.object({ op: z.literal('copy'), path: pointer, from: pointer }),
]);
type Operation = z.infer<typeof operationSchema>;

/** @throws StatusError BadRequest for what is no patch, Invalid for a patch that does not fit the document. */
export function jsonPatch(target: JsonValue, patch: JsonValue): JsonValue {
  checkNesting(patch);
  if (!Array.isArray(patch)) throw badRequest('a JSON patch is a list of operations');
  if (patch.length > maxJsonPatchOperations) {
    throw new StatusError(
      'RequestEntityTooLarge',
      `the JSON patch has ${patch.length} operations; ${maxJsonPatchOperations} are allowed`,
    );
  }
  let document = target;
  for (const [index, item] of patch.entries()) {
    const parsed = operationSchema.safeParse(item);
    if (!parsed.success) {
      throw badRequest(`operation ${index} of the JSON patch: ${z.prettifyError(parsed.error)}`);
    }
    document = applyOperation(document, parsed.data);
  }
  checkNesting(document);
  return document;
}

function applyOperation(document: JsonValue, operation: Operation): JsonValue {
  const path = tokens(operation.path);
  switch (operation.op) {
    case 'add':
      return add(document, path, operation.value);
    case 'replace':
      // Kubernetes' own implementation is as lenient about a replaced member that is missing only at the root.
      lookUp(document, path);
      return path.length === 0 ? operation.value : add(remove(document, path), path, operation.value);
    case 'remove':
      return remove(document, path);
    case 'test':
      if (!jsonEqual(lookUp(document, path), operation.value)) {
        throw unfit(operation.path, 'the test failed: the value is another one');
      }
      return document;
    case 'copy':
      return add(document, path, lookUp(document, tokens(operation.from)));
    case 'move': {
      if (operation.path.startsWith(`${operation.from}/`)) throw unfit(operation.path, 'is inside of "from"');
      const from = tokens(operation.from);
      return add(remove(document, from), path, lookUp(document, from));
    }
  }
}

function tokens(path: string): readonly string[] {
  return path
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function lookUp(document: JsonValue, path: readonly string[]): JsonValue {
  let at: JsonValue = document;
  for (const token of path) at = child(at, token, path);
  return at;
}

function child(parent: JsonValue, token: string, path: readonly string[]): JsonValue {
  const found = Array.isArray(parent)
    ? parent[listIndex(parent, token, path, parent.length - 1)]
    : isJsonObject(parent) && Object.hasOwn(parent, token)
      ? parent[token]
      : undefined;
  if (found === undefined) throw unfit(`/${path.join('/')}`, 'does not exist');
  return found;
}

function listIndex(list: readonly JsonValue[], token: string, path: readonly string[], max: number): number {
  if (!/^(0|[1-9]\d*)$/.test(token) || Number(token) > max) {
    throw unfit(`/${path.join('/')}`, `"${token}" is no index of a list of ${list.length}`);
  }
  return Number(token);
}

function add(document: JsonValue, path: readonly string[], value: JsonValue): JsonValue {
  return change(
    document,
    path,
    path,
    (parent, token) => {
      if (!Array.isArray(parent)) return Object.fromEntries([...Object.entries(parent), [token, value]]);
      const index = token === '-' ? parent.length : listIndex(parent, token, path, parent.length);
      return parent.toSpliced(index, 0, value);
    },
    value,
  );
}

function remove(document: JsonValue, path: readonly string[]): JsonValue {
  return change(
    document,
    path,
    path,
    (parent, token) => {
      child(parent, token, path);
      if (Array.isArray(parent)) return parent.toSpliced(Number(token), 1);
      return Object.fromEntries(Object.entries(parent).filter(([key]) => key !== token));
    },
    null,
  );
}

type Change = (parent: JsonValue[] | JsonObject, token: string) => JsonValue;

function change(
  at: JsonValue,
  rest: readonly string[],
  path: readonly string[],
  edit: Change,
  root: JsonValue,
): JsonValue {
  const [token, ...deeper] = rest;
  if (token === undefined) return root;
  if (!Array.isArray(at) && !isJsonObject(at)) throw unfit(`/${path.join('/')}`, 'does not exist');
  if (deeper.length === 0) return edit(at, token);
  const changed = change(child(at, token, path), deeper, path, edit, root);
  if (Array.isArray(at)) return at.with(Number(token), changed);
  return Object.fromEntries([...Object.entries(at), [token, changed]]);
}

function unfit(path: string, why: string): StatusError {
  return new StatusError(
    'Invalid',
    `the JSON patch does not fit the object: ${path === '' ? 'the document' : path} ${why}`,
  );
}
