/**
 * `route.resource` both ways: `<namespace>/<type>/<name>` between the two ends, with `node/<node>/` before it
 * inside the cloud (wire 4.2). Anything else (device, task and rule forms) is passed on as text.
 */

import { ProtocolError } from './errors.ts';
import { noNamespace } from './names.ts';

/** The object that a path names. `namespace` is undefined for cluster-scoped objects. */
export interface ObjectPath {
  readonly namespace: string | undefined;
  /** Lower-case kind: `pod`, `configmap`, `podpatch` … */
  readonly type: string;
  /** Undefined in the list form `<namespace>/<type>`. */
  readonly name: string | undefined;
}

export function formatObjectPath(path: ObjectPath): string {
  const head = `${path.namespace ?? noNamespace}/${path.type}`;
  return path.name === undefined ? head : `${head}/${path.name}`;
}

/** @throws ProtocolError `malformed-path` unless there are two or three non-empty segments. */
export function parseObjectPath(text: string): ObjectPath {
  const [namespace, type, name, ...rest] = text.split('/');
  if (!namespace || !type || name === '' || rest.length > 0) {
    throw new ProtocolError(`not an object path: "${text.slice(0, 200)}"`, {
      code: 'malformed-path',
      path: text,
    });
  }
  return { namespace: namespace === noNamespace ? undefined : namespace, type, name };
}

/** The cloud's own form of a path: which node it goes to or came from. */
export function withNode(node: string, path: string): string {
  return `node/${node}/${path}`;
}

/** Splits the cloud's own form. @throws ProtocolError `malformed-path` when no node stands in front. */
export function splitNode(text: string): { readonly node: string; readonly path: string } {
  const match = /^node\/([^/]+)\/(.+)$/s.exec(text);
  if (!match?.[1] || !match[2]) {
    throw new ProtocolError(`no node in path "${text.slice(0, 200)}"`, {
      code: 'malformed-path',
      path: text,
    });
  }
  return { node: match[1], path: match[2] };
}

/** A device at the edge and on the wire: `<namespace>/<name>` is its id everywhere. */
export interface DeviceRef {
  readonly namespace: string;
  readonly name: string;
}

export function formatDeviceId(device: DeviceRef): string {
  return `${device.namespace}/${device.name}`;
}

/** @throws ProtocolError `malformed-path` unless it is `<namespace>/<name>`. */
export function parseDeviceId(text: string): DeviceRef {
  const [namespace, name, ...rest] = text.split('/');
  if (!namespace || !name || rest.length > 0) {
    throw new ProtocolError(`not a device id: "${text.slice(0, 200)}"`, {
      code: 'malformed-path',
      path: text,
    });
  }
  return { namespace, name };
}

/** What an edge reports of a device: `device/<namespace>/<name>/<report>` (wire 4.2). */
export type DeviceReport = 'twin/edge_updated' | 'state/update';

export function formatDevicePath(device: DeviceRef, report: DeviceReport): string {
  return `device/${formatDeviceId(device)}/${report}`;
}

/** Undefined when the text has not the form of a device report. */
export function parseDevicePath(
  text: string,
): { readonly device: DeviceRef; readonly report: DeviceReport } | undefined {
  const [head, namespace, name, ...rest] = text.split('/');
  const report = rest.join('/');
  if (head !== 'device' || !namespace || !name) return undefined;
  if (report !== 'twin/edge_updated' && report !== 'state/update') return undefined;
  return { device: { namespace, name }, report };
}
