/** Whether a node has the labels that a pod asks for. Taints are matched in `tolerations.ts`. */

import {
  type JsonObject,
  type JsonValue,
  type KubeObject,
  listAt,
  objectsAt,
  textAt,
  valueAt,
} from '../kube-object.ts';

/** `nodeSelector` and the required node affinity. */
export function selectsNode(podSpec: JsonValue | undefined, node: KubeObject): boolean {
  const labels = node.metadata.labels ?? {};
  const selector = Object.entries(valueAt(podSpec, 'nodeSelector') ?? {});
  if (!selector.every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value)) return false;
  const required = valueAt(
    podSpec,
    'affinity',
    'nodeAffinity',
    'requiredDuringSchedulingIgnoredDuringExecution',
  );
  if (required === undefined) return true;
  return objectsAt(required, 'nodeSelectorTerms').some((term) => meetsTerm(term, node));
}

function meetsTerm(term: JsonObject, { metadata }: KubeObject): boolean {
  const expressions = objectsAt(term, 'matchExpressions');
  const fields = objectsAt(term, 'matchFields');
  if (expressions.length + fields.length === 0) return false;
  return (
    expressions.every((each) => meets(each, metadata.labels ?? {})) &&
    fields.every((each) => meets(each, { 'metadata.name': metadata.name }))
  );
}

function meets(expression: JsonObject, values: Readonly<Record<string, string>>): boolean {
  const key = textAt(expression, 'key') ?? '';
  const value = Object.hasOwn(values, key) ? values[key] : undefined;
  const wanted = listAt(expression, 'values');
  switch (textAt(expression, 'operator')) {
    case 'In':
      return value !== undefined && wanted.includes(value);
    case 'NotIn':
      return value === undefined || !wanted.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return value !== undefined && Number(value) > Number(wanted[0]);
    case 'Lt':
      return value !== undefined && Number(value) < Number(wanted[0]);
    default:
      return false;
  }
}
