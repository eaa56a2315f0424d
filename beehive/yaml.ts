/**
 * YAML as text and as values, for manifests, config files and request bodies. Texts are bounded before anything
 * recursive reads them: the library composes by recursion, and a pattern that is compiled when the stack is all
 * but used up ends the whole process, not just the call. Keys such as `__proto__` are keys like any other.
 */

import { Composer, type Document, Lexer, Parser, stringify } from 'yaml';
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
  const composer = new Composer({ logLevel: 'error', prettyErrors: false });
  return [...composer.compose(tokensOf(text))];
}

/** The tokens of the parser, which keeps what is open in a list of its own: that list is the depth. */
function* tokensOf(text: string) {
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    yield* parser.next(lexeme);
    if (parser.stack.length > yamlLimits.depthMax) {
      throw new YamlError(`it nests deeper than ${yamlLimits.depthMax} levels`);
    }
  }
  yield* parser.end();
}

function readValue(document: Document): unknown {
  const [error] = document.errors;
  if (error !== undefined) throw new YamlError(`${error.message} (at character ${error.pos[0]})`, error);
  try {
    return document.toJS({ maxAliasCount: yamlLimits.aliasesMax });
  } catch (cause) {
    // A ReferenceError: an alias of nothing, or more of them than may be.
    throw new YamlError(cause instanceof Error ? cause.message : 'it cannot be read', cause);
  }
}
