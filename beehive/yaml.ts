/**
 * YAML as text and as values, for manifests, config files and request bodies. Texts are bounded before anything
 * recursive reads them: the library composes by recursion, and a pattern that is compiled when the stack is all
 * but used up ends the whole process, not just the call. Keys such as `__proto__` are keys like any other.
 */

import { Composer, type Document, isNode, isScalar, Lexer, Parser, stringify, visit } from 'yaml';
import { HawserError } from '#protocol/errors.ts';
import { yamlLimits } from '#protocol/limits.ts';

export class YamlError extends HawserError<{ code: 'malformed-yaml' }> {
  constructor(reason: string, cause?: unknown) {
    super(reason, { code: 'malformed-yaml' }, { cause });
  }
}

/** Each document that is not empty. @throws YamlError */
export function parseYamlDocuments(text: string): unknown[] {
  return [...documentsOf(text)].flatMap((document) => {
    const value = readValue(document);
    return value === null || value === undefined ? [] : [value];
  });
}

/** The one document of a text; null for an empty one. @throws YamlError */
export function parseYaml(text: string): unknown {
  const [first, ...others] = documentsOf(text);
  if (others.length > 0) throw new YamlError('it has several documents; one is read here');
  return first === undefined ? null : (readValue(first) ?? null);
}

export function formatYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0 });
}

function documentsOf(text: string): readonly Document[] {
  if (Buffer.byteLength(text) > yamlLimits.bytesMax) {
    throw new YamlError(`it is larger than ${yamlLimits.bytesMax} bytes`);
  }
  // The library compares each key with all before it, which takes minutes for a map of a megabyte.
  const composer = new Composer({ logLevel: 'error', prettyErrors: false, uniqueKeys: false });
  return [...composer.compose(tokensOf(text))];
}

/** The tokens of the parser, which keeps what is open in a list of its own: that list is the depth. */
function* tokensOf(text: string) {
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) {
      // One is enough: a megabyte of closing brackets is a million of them.
      if (token.type === 'error') throw new YamlError(`${token.message} (at character ${token.offset})`);
      yield token;
    }
    if (parser.stack.length > yamlLimits.depthMax) {
      throw new YamlError(`it nests deeper than ${yamlLimits.depthMax} levels`);
    }
  }
  yield* parser.end();
}

function readValue(document: Document): unknown {
  const [error] = document.errors;
  if (error !== undefined) throw new YamlError(`${error.message} (at character ${error.pos[0]})`, error);
  visit(document, { Map: (_, { items }) => checkKeys(items.map(({ key }) => key)) });
  try {
    return document.toJS({ maxAliasCount: yamlLimits.aliasesMax });
  } catch (cause) {
    // A ReferenceError: an alias of nothing, or more of them than may be.
    throw new YamlError(cause instanceof Error ? cause.message : 'it cannot be read', cause);
  }
}

/** A list or a map as a key would be spelled out at each level above it, and what it means nobody says the same. */
function checkKeys(keys: readonly unknown[]): void {
  const seen = new Set<string>();
  for (const key of keys) {
    const at = isNode(key) && key.range ? ` (at character ${key.range[0]})` : '';
    if (!isScalar(key) || key.value === null) throw new YamlError(`a key is neither text nor number${at}`);
    const text = String(key.value);
    if (seen.has(text)) throw new YamlError(`the key ${JSON.stringify(text)} is there twice${at}`);
    seen.add(text);
  }
}
