/**
 * Files that every container of a pod gets without asking: /etc/hosts with the pod's own name, and the file into
 * which it may write why it ended. They lie in the pod's directory and go with it.
 */

import { chmod, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Mount } from '../runtime/runtime-service.ts';
import type { Pod, PodContainer } from './pod.ts';
import { fullHostname, shortHostname } from './pod-hostname.ts';

export interface PodFiles {
  mounts(pod: Pod, container: PodContainer, attempt: number, podIp: string): Promise<readonly Mount[]>;
  /** What the container wrote about its end; empty where it wrote nothing. */
  terminationMessage(podUid: string, containerName: string, attempt: number): Promise<string>;
}

const messageBytesMax = 4096;
const hostsPath = '/etc/hosts';
const messagePath = '/dev/termination-log';

export function createPodFiles(
  podDirectory: (podUid: string) => string,
  clusterDomain: string,
  machineHosts = hostsPath,
): PodFiles {
  const messageFile = (podUid: string, name: string, attempt: number) =>
    join(podDirectory(podUid), 'containers', name, String(attempt));
  return {
    async mounts(pod, container, attempt, podIp) {
      const { uid } = pod.metadata;
      const message = messageFile(uid, container.name, attempt);
      await mkdir(dirname(message), { recursive: true, mode: 0o750 });
      // Any user of the container may write it.
      await writeFile(message, '');
      await chmod(message, 0o666);
      const mounts = [mount(message, container.terminationMessagePath || messagePath)];
      const ownHosts = container.volumeMounts.some((it) => it.mountPath === hostsPath);
      if (!ownHosts) {
        const hosts = join(podDirectory(uid), 'etc-hosts');
        const text = pod.spec.hostNetwork
          ? withAliases(pod, await readFile(machineHosts, 'utf8').catch(() => ''))
          : hostsFile(pod, podIp, clusterDomain);
        await writeFile(hosts, text, { mode: 0o644 });
        mounts.push(mount(hosts, hostsPath));
      }
      return mounts;
    },

    async terminationMessage(podUid, containerName, attempt) {
      const file = await open(messageFile(podUid, containerName, attempt)).catch(() => undefined);
      if (file === undefined) return '';
      try {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(messageBytesMax), 0, messageBytesMax, 0);
        return buffer.toString('utf8', 0, bytesRead);
      } finally {
        await file.close();
      }
    },
  };
}

export function hostsFile(pod: Pod, podIp: string, clusterDomain: string): string {
  const full = fullHostname(pod, clusterDomain);
  const names = [...(full === undefined ? [] : [full]), shortHostname(pod)];
  const lines = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::0\tip6-mcastprefix',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    `${podIp}\t${names.join('\t')}`,
  ];
  return withAliases(pod, `${lines.join('\n')}\n`);
}

function withAliases({ spec }: Pod, hosts: string): string {
  return hosts + spec.hostAliases.map(({ ip, hostnames }) => `${ip}\t${hostnames.join('\t')}\n`).join('');
}

function mount(hostPath: string, containerPath: string): Mount {
  return { hostPath, containerPath, readOnly: false, optional: false };
}
