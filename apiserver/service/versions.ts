/** One stored object as different versions and groups show it: custom resources change their apiVersion, events their words. */

import { cloneJson, fieldOf, type JsonObject, type KubeObject } from '../kube-object.ts';
import { apiVersionOf, type ResourceDefinition } from '../resource-definition.ts';

/** The words of core/v1 events and of events.k8s.io/v1 for the same fields. */
const eventWords = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
  ['reportingComponent', 'reportingController'],
] as const;

function isNewEvent(definition: ResourceDefinition): boolean {
  return definition.group === 'events.k8s.io';
}

/** A stored object as the definition's version shows it. */
export function toVersion(definition: ResourceDefinition, stored: KubeObject): KubeObject {
  const apiVersion = apiVersionOf(definition);
  if (stored.apiVersion === apiVersion) return stored;
  const shown = isNewEvent(definition) ? renamed(stored, eventWords) : stored;
  return { ...shown, apiVersion, kind: definition.kind };
}

/** A draft of the definition's version as it is stored. */
export function toStored(definition: ResourceDefinition, draft: KubeObject): KubeObject {
  if (!isNewEvent(definition)) return draft;
  const stored = renamed(
    draft,
    eventWords.map(([core, events]) => [events, core] as const),
  );
  return { ...stored, apiVersion: 'v1' };
}

function renamed(object: KubeObject, words: readonly (readonly [string, string])[]): KubeObject {
  const result: JsonObject = { ...cloneJson(object) };
  for (const [from, to] of words) {
    const value = fieldOf(result, from);
    if (value !== undefined) result[to] = value;
    delete result[from];
  }
  // Only fields beside metadata were renamed.
  return result as KubeObject;
}
