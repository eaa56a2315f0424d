/**
 * Config files: YAML in, a checked value out. A field that KubeEdge or the kubelet knows and we do not use is
 * named once in a warning; a field that nobody knows is an error with its path.
 */

import { open } from 'node:fs/promises';
import type { z } from 'zod';
import { yamlLimits } from '#protocol/limits.ts';
import { ConfigError } from './errors.ts';
import { parseYaml, YamlError } from './yaml.ts';

export interface LoadedConfig<T> {
  readonly config: T;
  /** Paths of fields that stand in the file, are KubeEdge's, and do nothing here. */
  readonly unused: readonly string[];
}

export interface ConfigFormat<S extends z.ZodType> {
  /** Strict objects: what it does not name is unknown. */
  readonly schema: S;
  /** Dotted paths of known fields without a use; a path covers all below it. */
  readonly unused: readonly string[];
}

/** @throws ConfigError when the file cannot be read or does not fit its schema. */
export async function loadConfig<S extends z.ZodType>(
  file: string,
  format: ConfigFormat<S>,
): Promise<LoadedConfig<z.infer<S>>> {
  let text: string;
  try {
    text = await readStart(file);
  } catch (error) {
    throw new ConfigError(`cannot read ${file}`, { code: 'config', file, issues: [] }, { cause: error });
  }
  return parseConfig(text, file, format);
}

/** @throws ConfigError with every issue and its path. */
export function parseConfig<S extends z.ZodType>(
  text: string,
  file: string,
  format: ConfigFormat<S>,
): LoadedConfig<z.infer<S>> {
  if (Buffer.byteLength(text) > yamlLimits.bytesMax) {
    throw new ConfigError(`${file} is larger than ${yamlLimits.bytesMax} bytes`, {
      code: 'config',
      file,
      issues: [],
    });
  }
  let document: unknown;
  try {
    document = parseYaml(text);
  } catch (error) {
    if (!(error instanceof YamlError)) throw error;
    throw new ConfigError(`${file} is not YAML`, { code: 'config', file, issues: [] }, { cause: error });
  }
  const unused = format.unused.filter((path) => removePath(document, path.split('.')));
  const parsed = format.schema.safeParse(document ?? {});
  if (parsed.success) return { config: parsed.data, unused };
  const issues = parsed.error.issues.flatMap((issue) => {
    const path = issue.path.map(String).join('.');
    if (issue.code !== 'unrecognized_keys') return [{ path, reason: issue.message }];
    return issue.keys.map((key) => ({
      path: path === '' ? key : `${path}.${key}`,
      reason: 'unknown field; remove it, or check its spelling',
    }));
  });
  const lines = issues.map((issue) => `  ${issue.path || '(top)'}: ${issue.reason}`);
  throw new ConfigError(`${file} does not fit:\n${lines.join('\n')}`, { code: 'config', file, issues });
}

/** Of a file that is too large, only as much as shows that it is. */
async function readStart(file: string): Promise<string> {
  const handle = await open(file);
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of handle.createReadStream({ end: yamlLimits.bytesMax, autoClose: false })) {
      chunks.push(Buffer.from(chunk));
    }
    return Buffer.concat(chunks).toString('utf8');
  } finally {
    await handle.close();
  }
}

function removePath(value: unknown, [head, ...rest]: string[]): boolean {
  if (head === undefined || value === null || typeof value !== 'object' || !Object.hasOwn(value, head))
    return false;
  if (rest.length > 0) return removePath(Reflect.get(value, head), rest);
  return Reflect.deleteProperty(value, head);
}
