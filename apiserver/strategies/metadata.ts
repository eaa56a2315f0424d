/** Rules of names, labels and annotations, the same for all kinds. */

import { isJsonObject, type KubeObject } from '../kube-object.ts';
import { limits } from '../limits.ts';
import type { StatusCause } from '../status-error.ts';
import { required, type Strategy, wrong } from './strategy.ts';

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const qualifiedPart = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

export function isSubdomain(text: string): boolean {
  return text.length <= 253 && subdomain.test(text);
}

export function isLabelName(text: string): boolean {
  return label.test(text);
}

export function isLabelValue(text: string): boolean {
  return labelValue.test(text);
}

/** `prefix/name` or `name`, as keys of labels, annotations and taints are. */
export function isQualifiedName(text: string): boolean {
  const parts = text.split('/');
  const name = parts.at(-1) ?? '';
  const prefix = parts.length === 2 ? parts[0] : undefined;
  return parts.length <= 2 && qualifiedPart.test(name) && (prefix === undefined || isSubdomain(prefix));
}

export function nameProblem(name: string, names: Strategy['names']): string | undefined {
  if (names === 'path') {
    return name === '.' || name === '..' || /[/%]/.test(name)
      ? 'may not be "." or ".." or contain "/" or "%"'
      : undefined;
  }
  if (names === 'label') {
    return isLabelName(name)
      ? undefined
      : "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
  }
  return isSubdomain(name)
    ? undefined
    : "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
}

export function validateMetadata(draft: KubeObject, names: Strategy['names']): StatusCause[] {
  const { metadata } = draft;
  const causes: StatusCause[] = [];
  if (metadata.name === '')
    causes.push(required('metadata.name', 'Required value: name or generateName is required'));
  else {
    const problem = nameProblem(metadata.name, names);
    if (problem !== undefined) causes.push(wrong('metadata.name', metadata.name, problem));
  }
  causes.push(
    ...validateLabels(metadata.labels, 'metadata.labels'),
    ...validateAnnotations(metadata.annotations),
  );
  for (const finalizer of metadata.finalizers ?? []) {
    if (!isQualifiedName(finalizer)) {
      causes.push(
        wrong('metadata.finalizers', finalizer, 'name part must consist of alphanumeric characters'),
      );
    }
  }
  return causes;
}

export function validateLabels(labels: unknown, field: string): StatusCause[] {
  if (!isJsonObject(labels)) return [];
  return Object.entries(labels).flatMap(([key, value]) => {
    if (!isQualifiedName(key))
      return [wrong(field, key, "name part must consist of alphanumeric characters, '-', '_' or '.'")];
    if (typeof value !== 'string' || !labelValue.test(value)) {
      return [
        wrong(
          field,
          value,
          "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'",
        ),
      ];
    }
    return [];
  });
}

function validateAnnotations(annotations: Readonly<Record<string, string>> | undefined): StatusCause[] {
  if (annotations === undefined) return [];
  const causes: StatusCause[] = [];
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) {
    if (!isQualifiedName(key.toLowerCase())) {
      causes.push(wrong('metadata.annotations', key, 'name part must consist of alphanumeric characters'));
    }
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > limits.annotationsBytes) {
    causes.push({
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${limits.annotationsBytes} bytes`,
      field: 'metadata.annotations',
    });
  }
  return causes;
}
