/** The table of served resources: the built-in ones and those that CustomResourceDefinitions add and take away. */

import type { ResourceDefinition } from './resource-definition.ts';

export interface ServedGroup {
  readonly group: string;
  /** Preferred first. */
  readonly versions: readonly string[];
}

export class Registry {
  readonly #builtIn: readonly ResourceDefinition[];
  readonly #custom = new Map<string, readonly ResourceDefinition[]>();
  #all: readonly ResourceDefinition[] = [];
  #byPlural = new Map<string, ResourceDefinition>();
  #byKind = new Map<string, ResourceDefinition>();
  #generation = 0;

  constructor(builtIn: readonly ResourceDefinition[]) {
    this.#builtIn = builtIn;
    this.#rebuild();
  }

  /** Changes whenever the table does: what is derived from the table may be cached under it. */
  get generation(): number {
    return this.#generation;
  }

  /** Built-in ones first, then by name of their CustomResourceDefinition. */
  all(): readonly ResourceDefinition[] {
    return this.#all;
  }

  find(group: string, version: string, plural: string): ResourceDefinition | undefined {
    return this.#byPlural.get(`${group}/${version}/${plural}`);
  }

  findKind(group: string, version: string, kind: string): ResourceDefinition | undefined {
    return this.#byKind.get(`${group}/${version}/${kind}`);
  }

  /** Any served version of the resource; the first served wins. */
  findAnyVersion(group: string, plural: string): ResourceDefinition | undefined {
    return this.#all.find((definition) => definition.group === group && definition.plural === plural);
  }

  inVersion(group: string, version: string): readonly ResourceDefinition[] {
    return this.#all.filter((definition) => definition.group === group && definition.version === version);
  }

  /** All groups, core (`''`) first. */
  groups(): readonly ServedGroup[] {
    const groups = new Map<string, Set<string>>();
    for (const { group, version } of this.#all) {
      const versions = groups.get(group) ?? new Set();
      groups.set(group, versions.add(version));
    }
    return [...groups].map(([group, versions]) => ({ group, versions: [...versions].sort(byPriority) }));
  }

  /** Replaces what the CustomResourceDefinition of this name serves. */
  setCustom(definitionName: string, definitions: readonly ResourceDefinition[]): void {
    this.#custom.set(definitionName, definitions);
    this.#rebuild();
  }

  removeCustom(definitionName: string): void {
    if (this.#custom.delete(definitionName)) this.#rebuild();
  }

  #rebuild(): void {
    const custom = [...this.#custom].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, of]) => of);
    this.#all = [...this.#builtIn, ...custom];
    this.#byPlural = new Map(this.#all.map((d) => [`${d.group}/${d.version}/${d.plural}`, d]));
    this.#byKind = new Map(this.#all.map((d) => [`${d.group}/${d.version}/${d.kind}`, d]));
    this.#generation += 1;
  }
}

const stabilities = ['alpha', 'beta', ''];

/** v2 before v1 before v1beta1 before v1alpha1; anything else last, by name. */
export function byPriority(a: string, b: string): number {
  const [left, right] = [versionRank(a), versionRank(b)];
  for (let i = 0; i < 3; i += 1) {
    const difference = (right[i] ?? 0) - (left[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a < b ? -1 : a > b ? 1 : 0;
}

function versionRank(version: string): readonly number[] {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
  if (match === null) return [-1, 0, 0];
  return [stabilities.indexOf(match[2] ?? ''), Number(match[1]), Number(match[3] ?? 0)];
}
