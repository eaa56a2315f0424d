/** Applies a patch request to the present object: which of the patch types, and what of the result is allowed. */

import { builtinType } from '../builtin-types/type-table.ts';
import { cloneJson, isJsonObject, type JsonObject, type JsonValue, type KubeObject } from '../kube-object.ts';
import { jsonPatch } from '../patch/json-patch.ts';
import { mergePatch } from '../patch/merge-patch.ts';
import { strategicMergePatch } from '../patch/strategic-merge-patch.ts';
import { apiVersionOf, type ResourceDefinition } from '../resource-definition.ts';
import { badRequest } from '../status-error.ts';
import { type Body, parseJson, parseJsonOrYaml, unsupportedMediaType } from './body.ts';

export const applyMediaType = 'application/apply-patch+yaml';
const jsonPatchType = 'application/json-patch+json';
const mergePatchType = 'application/merge-patch+json';
const strategicType = 'application/strategic-merge-patch+json';

export type PatchDocument =
  | { readonly kind: 'apply'; readonly configuration: JsonValue }
  | { readonly kind: 'change'; apply(current: KubeObject): JsonObject };

export function readPatch(definition: ResourceDefinition, body: Body): PatchDocument {
  const type = definition.custom ? undefined : builtinType(apiVersionOf(definition), definition.kind);
  switch (body.mediaType) {
    case applyMediaType:
      return { kind: 'apply', configuration: parseJsonOrYaml(body.bytes) };
    case jsonPatchType: {
      const patch = parseJson(body.bytes);
      return change((current) => jsonPatch(current, patch));
    }
    case mergePatchType: {
      const patch = parseJson(body.bytes);
      return change((current) => mergePatch(current, patch));
    }
    case strategicType: {
      if (type === undefined) break;
      const patch = parseJson(body.bytes);
      if (!isJsonObject(patch)) throw badRequest('a strategic merge patch is an object');
      return change((current) => strategicMergePatch(current, patch, type));
    }
  }
  throw unsupportedMediaType([
    jsonPatchType,
    mergePatchType,
    ...(type === undefined ? [] : [strategicType]),
    applyMediaType,
  ]);
}

function change(patch: (current: KubeObject) => JsonValue): PatchDocument {
  return {
    kind: 'change',
    apply(current) {
      // What a patch leaves alone is shared with the stored object, which must not be written to.
      const patched = cloneJson(patch(current));
      if (!isJsonObject(patched)) throw badRequest('the patch makes something else than an object');
      return patched;
    },
  };
}
