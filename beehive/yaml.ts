/** YAML as text and as values, for manifests and for config files that we write. */

import { parseAllDocuments, stringify } from 'yaml';
import { yamlLimits } from '#protocol/limits.ts';

/** Each document that is not empty. @throws YAMLParseError of the first that is not YAML. */
export function parseYamlDocuments(text: string): unknown[] {
  const documents = parseAllDocuments(text);
  if (!Array.isArray(documents)) return [];
  return documents.flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    const value: unknown = document.toJS({ maxAliasCount: yamlLimits.aliasesMax, logLevel: 'error' });
    return value === null || value === undefined ? [] : [value];
  });
}

export function formatYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0 });
}
