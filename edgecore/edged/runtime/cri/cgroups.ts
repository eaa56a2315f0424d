/**
 * Where the cgroups of pods are: below a root of ours, so that no kubelet that shares the machine takes them for
 * its own. The names follow the driver that the runtime uses.
 */

import { readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

export type CgroupDriver = 'systemd' | 'cgroupfs';

export interface Cgroups {
  podParent(podUid: string, qosClass: QosClass): string;
  /** Takes the empty directories of a pod's parent away; systemd does so by itself. */
  remove(parent: string): Promise<void>;
}

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

const root = 'hawser';
const classes: Readonly<Record<QosClass, string>> = {
  Guaranteed: '',
  Burstable: 'burstable',
  BestEffort: 'besteffort',
};

export function createCgroups(driver: CgroupDriver, filesystem = '/sys/fs/cgroup'): Cgroups {
  const parts = (podUid: string, qosClass: QosClass) =>
    [root, classes[qosClass], `pod${podUid}`].filter((it) => it !== '');
  return {
    podParent(podUid, qosClass) {
      const named = parts(podUid, qosClass);
      // In a slice's name a dash is a level of its own.
      if (driver === 'systemd') return `${named.map((it) => it.replaceAll('-', '_')).join('-')}.slice`;
      return `/${named.join('/')}`;
    },
    async remove(parent) {
      if (driver === 'systemd') return;
      const controllers = await readdir(filesystem, { withFileTypes: true }).catch(() => []);
      // With cgroup v2 there are no controllers' directories, only the tree itself.
      const trees = ['', ...controllers.filter((it) => it.isDirectory()).map((it) => it.name)];
      await Promise.all(trees.map((tree) => rmdir(join(filesystem, tree, parent)).catch(() => {})));
    },
  };
}

/** containerd's verbose status: `config` is its CRI plugin's configuration as JSON. */
export function driverFromInfo(info: Readonly<Record<string, string>>): CgroupDriver | undefined {
  const systemd = /"(?:SystemdCgroup|systemdCgroup)"\s*:\s*(true|false)/gi;
  const found = [...(info.config ?? '').matchAll(systemd)].map((it) => it[1]);
  if (found.length === 0) return undefined;
  return found.includes('true') ? 'systemd' : 'cgroupfs';
}

/** How a runtime is given that driver. */
export function driverFix(wanted: CgroupDriver): string {
  const [containerd, crio] = wanted === 'systemd' ? ['true', 'systemd'] : ['false', 'cgroupfs'];
  return `give the runtime that driver (containerd: SystemdCgroup = ${containerd} under runc's options; CRI-O: cgroup_manager = "${crio}") and restart it`;
}
