/**
 * Which steps bring volumes to their mountPath inside a private mount namespace.
 *
 * A mountPath that the machine has is simply mounted over. One that it lacks may not be created on the machine,
 * so the container gets a root directory of its own in memory: everything of the real root is bound into it,
 * and a directory in which something is missing becomes one in memory whose entries lead to the real ones.
 */

import { join, normalize } from 'node:path';
import { type Mount, RuntimeError } from './runtime-service.ts';

/** A step of the shim and its paths. */
export type MountOp =
  | readonly ['mkdir' | 'touch' | 'tmpfs' | 'readonly', string]
  | readonly ['link' | 'bind' | 'rbind', string, string];

/** What planning has to know of the machine. */
export interface FileView {
  kind(path: string): Promise<'directory' | 'file' | 'missing'>;
  realpath(path: string): Promise<string>;
  entries(
    path: string,
  ): Promise<readonly { name: string; kind: 'directory' | 'file' | 'link'; target: string }[]>;
}

export interface MountPlan {
  readonly ops: readonly MountOp[];
  /** `/`, or the directory that becomes it. */
  readonly root: string;
}

const opsMax = 4096;
const stageName = '.hawser';

interface Target {
  readonly mount: Mount;
  /** Deepest directory of the machine on the way, without links. */
  readonly base: string;
  /** What lies below it and does not exist; empty when the mountPath exists. */
  readonly rest: string;
  readonly path: string;
  readonly kind: 'directory' | 'file';
}

/** @throws RuntimeError `cannot-create` for a mountPath or volume that cannot be. */
export async function planMounts(
  mounts: readonly Mount[],
  view: FileView,
  rootDirectory: string,
  name: string,
): Promise<MountPlan> {
  const targets = await Promise.all(mounts.map((mount) => locate(mount, view, name)));
  targets.sort((a, b) => a.path.split('/').length - b.path.split('/').length);
  const nested = (it: Target) => targets.some((other) => other !== it && isBelow(it.path, other.path));
  const grown = new Set(targets.filter((it) => it.rest !== '' && !nested(it)).map((it) => it.base));
  const root = grown.size === 0 ? '/' : rootDirectory;
  const inside = (path: string) => (root === '/' ? path : join(root, path));

  const ops: MountOp[] = root === '/' ? [] : await rootOps(root, view);
  let stage = 0;
  for (const base of [...grown].sort((a, b) => a.length - b.length)) {
    if (base === '/') continue;
    const real = join(root, stageName, String(stage));
    ops.push(['mkdir', real], ['rbind', inside(base), real], ['tmpfs', inside(base)]);
    for (const entry of await view.entries(base)) {
      ops.push(['link', `/${stageName}/${stage}/${entry.name}`, join(inside(base), entry.name)]);
    }
    stage += 1;
  }
  for (const it of targets) {
    const at = inside(it.path);
    if (it.rest !== '' || nested(it)) {
      if (it.kind === 'file') ops.push(['mkdir', join(at, '..')], ['touch', at]);
      else ops.push(['mkdir', at]);
    }
    ops.push(['bind', it.mount.hostPath, at]);
  }
  for (const it of targets) if (it.mount.readOnly) ops.push(['readonly', inside(it.path)]);
  if (ops.length > opsMax) {
    throw new RuntimeError(`the mountPaths of ${name} need ${ops.length} steps, more than ${opsMax}`, {
      code: 'cannot-create',
      name,
    });
  }
  return { ops, root };
}

async function rootOps(root: string, view: FileView): Promise<MountOp[]> {
  const ops: MountOp[] = [
    ['tmpfs', root],
    ['mkdir', join(root, stageName)],
  ];
  for (const entry of await view.entries('/')) {
    const at = join(root, entry.name);
    if (entry.kind === 'link') ops.push(['link', entry.target, at]);
    else if (entry.kind === 'directory') ops.push(['mkdir', at], ['rbind', `/${entry.name}`, at]);
    else ops.push(['touch', at], ['bind', `/${entry.name}`, at]);
  }
  return ops;
}

async function locate(mount: Mount, view: FileView, name: string): Promise<Target> {
  const refuse = (reason: string) =>
    new RuntimeError(`mountPath ${mount.containerPath} of ${name}: ${reason}`, {
      code: 'cannot-create',
      name,
    });
  const wanted = normalize(mount.containerPath).replace(/(.)\/$/, '$1');
  if (!wanted.startsWith('/') || wanted === '/') throw refuse('must be an absolute path below /');
  const kind = await view.kind(mount.hostPath);
  if (kind === 'missing') throw refuse(`the volume ${mount.hostPath} does not exist`);
  const segments = wanted.split('/').slice(1);
  let known = segments.length;
  let found = await view.kind(wanted);
  while (found === 'missing' && known > 0) {
    known -= 1;
    found = await view.kind(`/${segments.slice(0, known).join('/')}`);
  }
  const base = await view.realpath(`/${segments.slice(0, known).join('/')}`);
  const rest = segments.slice(known).join('/');
  if (rest === '' && found !== kind) throw refuse(`is a ${found} here and the volume is a ${kind}`);
  if (rest !== '' && found !== 'directory') throw refuse(`${base} is no directory`);
  return { mount, base, rest, path: join(base, rest), kind };
}

function isBelow(path: string, parent: string): boolean {
  return path.startsWith(`${parent}/`);
}
