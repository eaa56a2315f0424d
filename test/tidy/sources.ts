/** The source files of the repository, read once as text, with what they import. */

import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Source {
  /** From the root, with slashes: `edgecore/edgehub/route.ts` */
  readonly path: string;
  readonly lines: readonly string[];
  /** Lines with comments blanked, for rules about code. */
  readonly code: readonly string[];
  readonly isTest: boolean;
}

export interface Import {
  readonly line: number;
  readonly specifier: string;
  /** Root path of the file when it is one of ours. */
  readonly target: string | undefined;
}

export interface Fault {
  readonly path: string;
  readonly line: number;
  readonly text: string;
}

const skippedFolders = new Set(['node_modules', 'dist', 'data', '__snapshots__']);

export function readSources(): Source[] {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const sources: Source[] = [];
  const walk = (folder: string) => {
    for (const entry of readdirSync(root + folder, { withFileTypes: true })) {
      if (entry.name.startsWith('.') || skippedFolders.has(entry.name)) continue;
      const path = folder + entry.name;
      if (entry.isDirectory()) walk(`${path}/`);
      else if (/\.(ts|mjs)$/.test(entry.name))
        sources.push(sourceOf(path, readFileSync(root + path, 'utf8')));
    }
  };
  walk('');
  return sources;
}

export function sourceOf(path: string, text: string): Source {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const isTest = /\.(test|suite|bench)\.ts$/.test(path) || path.startsWith('test/');
  return { path, lines, code: withoutComments(lines), isTest };
}

const importPattern =
  /(?:^|\s)(?:import|export)\s(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g;

export function importsOf(source: Source): Import[] {
  const text = source.code.join('\n');
  return [...text.matchAll(importPattern)].map((match) => {
    const specifier = match[1] ?? match[2] ?? '';
    const line = text.slice(0, match.index + match[0].length).split('\n').length;
    return { line, specifier, target: targetOf(source.path, specifier) };
  });
}

export function topFolderOf(path: string): string {
  return path.includes('/') ? (path.split('/')[0] ?? '') : '';
}

function targetOf(from: string, specifier: string): string | undefined {
  if (specifier.startsWith('#')) return specifier.slice(1);
  if (specifier.startsWith('.')) return posix.join(posix.dirname(from), specifier);
  return undefined;
}

/** Whole-line comments only: enough for code that a formatter has been over, and a URL in a string stays. */
function withoutComments(lines: readonly string[]): string[] {
  let inBlock = false;
  return lines.map((line) => {
    const text = line.trimStart();
    const opens = !inBlock && text.startsWith('/*');
    const isComment = inBlock || opens || text.startsWith('//');
    if (opens || inBlock) inBlock = !text.includes('*/');
    return isComment ? '' : line;
  });
}
