/** `keadm version [-o yaml|json|short]` */

import { arch, platform } from 'node:os';
import { packageVersion } from '#beehive/package-root.ts';
import { formatYaml } from '#beehive/yaml.ts';

export type VersionFormat = 'text' | 'yaml' | 'json' | 'short';

export function formatVersion(format: VersionFormat): string {
  const version = `v${packageVersion()}`;
  const facts = {
    version,
    compatibleWith: 'KubeEdge v1.23',
    node: process.version,
    platform: `${platform()}/${arch()}`,
  };
  switch (format) {
    case 'short':
      return version;
    case 'json':
      return JSON.stringify(facts, null, 2);
    case 'yaml':
      return formatYaml(facts).trimEnd();
    case 'text':
      return `keadm ${version} (speaks ${facts.compatibleWith}, Node ${facts.node}, ${facts.platform})`;
  }
}
