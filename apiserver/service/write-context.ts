/** Who writes and how: what a request says beside the object. */

import type { Writer as FieldWriter } from '../patch/managed-fields.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import type { Requester } from '../strategies/strategy.ts';

export interface WriteContext {
  readonly requester: Requester;
  /** Whom `metadata.managedFields` names. */
  readonly manager: string;
  /** Everything but the write happens. */
  readonly dryRun: boolean;
  readonly subresource?: string | undefined;
}

export function fieldWriter(
  definition: ResourceDefinition,
  context: WriteContext,
  nowMs: number,
): FieldWriter {
  return { definition, manager: context.manager, subresource: context.subresource, nowMs };
}

/** As API objects write times: whole seconds. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
