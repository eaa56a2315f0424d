/** Sizes of files and functions, and forms of export. A measure of text, for code that the formatter has been over. */

import type { Fault, Source } from './sources.ts';

const fileLinesMax = 500;
const functionLinesMax = 70;
/** Files that a tool loads by their default export. */
const loadedByTools = new Set(['vitest.config.ts', 'test/outcome-reporter.ts']);

export function shapeFaults(source: Source): Fault[] {
  return [...sizeFaults(source), ...exportFaults(source)];
}

function sizeFaults(source: Source): Fault[] {
  const { path, lines } = source;
  const faults: Fault[] = [];
  if (lines.length > fileLinesMax) {
    const text = `${lines.length} lines in a file, at most ${fileLinesMax}: split it by noun`;
    faults.push({ path, line: lines.length, text });
  }
  // The callbacks of describe and of suites are as long as their lists of tests.
  if (source.isTest) return faults;
  for (const { line, length } of functionsOf(source)) {
    if (length <= functionLinesMax) continue;
    const text = `${length} lines in a function, at most ${functionLinesMax}: give its steps names`;
    faults.push({ path, line, text });
  }
  return faults;
}

const keywords = /^(if|for|while|switch|catch|try|else|do|return|class|interface|with)\b/;
const functionHead = /^(export |async |static |public |get |set |\*|function\b|[\w#$]+\s*(<[^>]*>)?\()/;

/** Functions and methods: from a head to the first line of the same indent that closes a brace. */
function* functionsOf({ code }: Source): Generator<{ readonly line: number; readonly length: number }> {
  for (const [at, text] of code.entries()) {
    const body = text.trimStart();
    if (!/\{$|\($/.test(body) || keywords.test(body)) continue;
    if (!functionHead.test(body) && !/=> \{$/.test(body)) continue;
    if (/^export (const|interface|type|class|abstract)\b/.test(body) && !body.includes('=>')) continue;
    const indent = text.length - body.length;
    const head = body.endsWith('(') ? closingLine(code, at, indent, ')') : at;
    // A call with many arguments looks like a head until its parentheses close.
    if (head === undefined || !code[head]?.endsWith('{')) continue;
    const end = closingLine(code, head, indent, '}');
    if (end !== undefined) yield { line: at + 1, length: end - at + 1 };
  }
}

/** The first line after `at` that has this character at this indent. */
function closingLine(
  code: readonly string[],
  at: number,
  indent: number,
  character: string,
): number | undefined {
  const end = code.findIndex(
    (line, index) => index > at && line[indent] === character && line.slice(0, indent).trim() === '',
  );
  return end === -1 ? undefined : end;
}

function exportFaults({ path, code }: Source): Fault[] {
  const faults: Fault[] = [];
  if (/(^|\/)index\.(ts|mjs)$/.test(path)) {
    faults.push({ path, line: 1, text: 'no index files: name the file after what it holds' });
  }
  if (!/^[a-z0-9]+([.-][a-z0-9]+)*\.(ts|mjs)$/.test(path.split('/').at(-1) ?? '')) {
    faults.push({ path, line: 1, text: 'file names are kebab-case' });
  }
  if (/(^|[/-])(utils?|helpers?|common|manager)\.ts$/.test(path)) {
    faults.push({ path, line: 1, text: 'a name that hides: name the file after what it holds' });
  }
  for (const [at, line] of code.entries()) {
    if (/^export default\b/.test(line) && !loadedByTools.has(path)) {
      faults.push({ path, line: at + 1, text: 'no default exports: give it a name' });
    }
    if (/^export (type )?(\*|\{[^}]*\}) from\b/.test(line)) {
      faults.push({ path, line: at + 1, text: 'no re-exports: import from where it is made' });
    }
  }
  return faults;
}
