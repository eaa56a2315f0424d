/**
 * JSON patch, RFC 6902. Changes a copy of the document and looks only at own fields, so that a pointer through
 * `__proto__` or `constructor` finds what the document has there, and nothing of JavaScript's.
 */

import { z } from 'zod';
import { isJsonObject, type JsonObject, type JsonValue } from '../kube-object.ts';
import { limits } from '../limits.ts';
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
  const document = new PatchedDocument(target);
  for (const [index, item] of patch.entries()) {
    const parsed = operationSchema.safeParse(item);
    if (!parsed.success) {
      throw badRequest(`operation ${index} of the JSON patch: ${z.prettifyError(parsed.error)}`);
    }
    document.apply(parsed.data);
  }
  checkNesting(document.root);
  return document.root;
}

class PatchedDocument {
  root: JsonValue;
  #copiedChars = 0;

  constructor(target: JsonValue) {
    this.root = JSON.parse(JSON.stringify(target));
  }

  apply(operation: Operation): void {
    const path = tokens(operation.path);
    switch (operation.op) {
      case 'add':
        this.#add(path, operation.value);
        break;
      case 'replace':
        lookUp(this.root, path);
        this.#replace(path, operation.value);
        break;
      case 'remove':
        this.#remove(path);
        break;
      case 'test':
        if (jsonEqual(lookUp(this.root, path), operation.value)) break;
        throw unfit(operation.path, 'the test failed: the value is another one');
      case 'copy':
        this.#add(path, this.#copy(lookUp(this.root, tokens(operation.from))));
        break;
      case 'move': {
        if (operation.path.startsWith(`${operation.from}/`))
          throw unfit(operation.path, 'is inside of "from"');
        const from = tokens(operation.from);
        const value = lookUp(this.root, from);
        this.#remove(from);
        this.#add(path, value);
      }
    }
  }

  /** Each copy of the whole into itself doubles it: a patch of a few lines could become gigabytes. */
  #copy(value: JsonValue): JsonValue {
    checkNesting(value);
    const text = JSON.stringify(value);
    this.#copiedChars += text.length;
    if (this.#copiedChars > limits.copiedChars) {
      const message = `the copies of the JSON patch have more than ${limits.copiedChars} characters`;
      throw new StatusError('RequestEntityTooLarge', message);
    }
    return JSON.parse(text);
  }

  #add(path: readonly string[], value: JsonValue): void {
    const [parent, name] = this.#place(path);
    if (parent === undefined) this.root = value;
    else if (Array.isArray(parent)) {
      parent.splice(name === '-' ? parent.length : listIndex(parent, name, path, parent.length), 0, value);
    } else define(parent, name, value);
  }

  #replace(path: readonly string[], value: JsonValue): void {
    const [parent, name] = this.#place(path);
    if (parent === undefined) this.root = value;
    else define(parent, name, value);
  }

  #remove(path: readonly string[]): void {
    const [parent, name] = this.#place(path);
    if (parent === undefined) {
      this.root = null;
      return;
    }
    child(parent, name, path);
    if (Array.isArray(parent)) parent.splice(Number(name), 1);
    else delete parent[name];
  }

  /** What has the last token of a path as its member; nothing has the root. */
  #place(path: readonly string[]): [parent: JsonValue[] | JsonObject | undefined, name: string] {
    const name = path.at(-1);
    if (name === undefined) return [undefined, ''];
    const parent = lookUp(this.root, path.slice(0, -1), path);
    if (!Array.isArray(parent) && !isJsonObject(parent)) throw unfit(`/${path.join('/')}`, 'does not exist');
    return [parent, name];
  }
}

/** Assigning to `__proto__` would change what the object is. */
function define(parent: JsonValue[] | JsonObject, name: string, value: JsonValue): void {
  Object.defineProperty(parent, name, { value, configurable: true, enumerable: true, writable: true });
}

function tokens(path: string): readonly string[] {
  return path
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** @throws StatusError that names the path `wanted`, of which `path` may be a part */
function lookUp(document: JsonValue, path: readonly string[], wanted = path): JsonValue {
  let at: JsonValue = document;
  for (const token of path) at = child(at, token, wanted);
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

function unfit(path: string, why: string): StatusError {
  return new StatusError(
    'Invalid',
    `the JSON patch does not fit the object: ${path === '' ? 'the document' : path} ${why}`,
  );
}
