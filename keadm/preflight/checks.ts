/** Judges what is known of a machine: facts in, findings out, nothing read and nothing changed. */

import { driverFix } from '#edgecore/edged/runtime/cri/cgroups.ts';
import type { Facts } from './facts.ts';
import { type Finding, finding, pass, type Subject } from './finding.ts';
import { checkNetwork } from './network-checks.ts';
import type { Plan } from './plan.ts';

type Check = (facts: Facts, plan: Plan) => Finding;

const mebibyte = 1024 * 1024;
/** What our daemons need beside what runs on them; below the first they do not start. */
const needs = {
  memory: { fail: 64 * mebibyte, warn: 256 * mebibyte },
  disk: { fail: 128 * mebibyte, warn: 1024 * mebibyte },
  pidsFree: { fail: 50, warn: 500 },
};
const architectures = new Set(['x64', 'arm64', 'arm']);
/** Certificates and tokens have minutes of grace, no more. */
const skew = { warnMs: 60_000, failMs: 600_000 };
const cgroupWords = 'cgroup_enable=cpuset cgroup_memory=1 cgroup_enable=memory';
/** As machines are called when nobody has named them. */
const namesOfMany = new Set(['raspberrypi', 'ubuntu', 'debian', 'orangepi', 'raspberry', 'linux', 'fedora']);
/** RFC 1123 subdomain, as Kubernetes names nodes. */
const nodeNamePattern = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** In the order in which people fix things: the machine, its kernel, then the network. */
export function check(facts: Facts, plan: Plan): Finding[] {
  const machine: Check[] = [checkArch, checkCpu, checkMemory, checkDisk, checkPids, checkClock, checkSwap];
  const edge: Check[] = [
    checkMemoryCgroup,
    checkName,
    checkKubelet,
    checkRuntime,
    checkCgroupDriver,
    checkTools,
  ];
  const checks = [...machine, ...(plan.role === 'edge' ? edge : []), checkSeLinux];
  return [...checks.map((each) => each(facts, plan)), ...checkNetwork(facts, plan)];
}

function checkArch({ arch }: Facts): Finding {
  const known = architectures.has(arch);
  const fix = 'nothing was tried there: tell us how it goes';
  return known
    ? pass('arch', 'arch', arch)
    : finding('arch', 'arch', 'warn', `${arch} is none of amd64, arm64, arm`, fix);
}

function checkCpu({ cpus, load }: Facts): Finding {
  const text = `${cpus} processors, load ${load.toFixed(1)}`;
  if (load <= 4 * cpus) return pass('cpu', 'cpu', text);
  return finding('cpu', 'cpu', 'warn', text, 'see with `top` what keeps the machine busy');
}

function checkMemory({ memoryAvailableBytes: free }: Facts): Finding {
  if (free === undefined) return pass('memory', 'mem', 'how much is free cannot be told');
  const fix = 'end other programs, or take a machine with more memory';
  return atLeast('memory', 'mem', free, needs.memory, `${mebibytes(free)} MiB can be had`, fix);
}

function checkDisk({ disk }: Facts): Finding {
  if (disk === undefined) return pass('disk', 'disk', 'how much is free cannot be told');
  const text = `${mebibytes(disk.freeBytes)} MiB free on the disk of ${disk.path}`;
  const fix = 'make room there, or put the data elsewhere with --data-dir';
  return atLeast('disk', 'disk', disk.freeBytes, needs.disk, text, fix);
}

function checkPids({ pids }: Facts): Finding {
  const free = pids.max - pids.used;
  const text = `${pids.used} processes, at most ${pids.max}`;
  const fix =
    'raise the limit: `sysctl -w kernel.pid_max=32768`, and in a file below /etc/sysctl.d to keep it';
  return atLeast('pid', 'pid', free, needs.pidsFree, text, fix);
}

function checkClock({ nowMs, installedMs, cloud }: Facts): Finding {
  const fix =
    'set it, and keep it right: `timedatectl set-ntp true` (or `date -s`); certificates depend on it';
  if (nowMs < installedMs - skew.failMs) {
    const text = `the clock says ${time(nowMs)}, before this program was installed (${time(installedMs)})`;
    return finding('clock', 'time', 'fail', text, fix);
  }
  if (cloud?.nowMs === undefined) return pass('clock', 'time', time(nowMs));
  const apartMs = Math.abs(nowMs - cloud.nowMs);
  const text = `the clock says ${time(nowMs)}, that of the cloud ${time(cloud.nowMs)}`;
  if (apartMs < skew.warnMs) return pass('clock', 'time', `as the clock of the cloud: ${time(nowMs)}`);
  return finding('clock', 'time', apartMs < skew.failMs ? 'warn' : 'fail', text, fix);
}

/** A kubelet refuses to start with swap on; edgecore does not. */
function checkSwap({ swaps }: Facts): Finding {
  if (swaps.length === 0) return pass('swap', 'mem', 'off');
  const text = `swap is on (${swaps.join(', ')}): memory limits of pods are not exact, and memory may reach the disk`;
  return finding('swap', 'mem', 'warn', text, 'if that matters: `swapoff -a`, and take it out of /etc/fstab');
}

function checkMemoryCgroup({ memoryCgroup, bootFile, isRaspberryPi }: Facts, plan: Plan): Finding {
  if (memoryCgroup === true) return pass('cgroup-memory', 'mem', 'the memory cgroup is on');
  if (memoryCgroup === undefined)
    return pass('cgroup-memory', 'mem', 'whether the memory cgroup is on cannot be told');
  const fix = isRaspberryPi
    ? `add \`${cgroupWords}\` at the end of the one line in ${bootFile}, then reboot`
    : `add \`${cgroupWords}\` to GRUB_CMDLINE_LINUX in ${bootFile}, run \`update-grub\`, then reboot`;
  const verdict = plan.runtime === 'cri' ? 'fail' : 'warn';
  return finding(
    'cgroup-memory',
    'mem',
    verdict,
    'the kernel has the memory cgroup switched off: no container runtime can limit memory, and most do not start',
    fix,
  );
}

function checkName({ hostName }: Facts, { nodeName }: Plan): Finding {
  const name = nodeName ?? hostName.toLowerCase();
  const fix = 'choose one with --edgenode-name';
  if (!nodeNamePattern.test(name)) {
    const text = `"${name}" cannot be a node's name (lower-case letters, digits, "-" and ".")`;
    return finding('node-name', 'name', 'fail', text, fix);
  }
  if (name.split('.')[0] === 'localhost')
    return finding('node-name', 'name', 'fail', `"${name}" names every machine`, fix);
  if (nodeName === undefined && namesOfMany.has(name)) {
    const text = `${name}, the host name, is what many machines are called`;
    return finding('node-name', 'name', 'warn', text, `${fix}, or \`hostnamectl set-hostname NAME\``);
  }
  return pass('node-name', 'name', name);
}

function checkKubelet({ kubelet }: Facts): Finding {
  if (!kubelet) return pass('kubelet', 'runtime', 'none runs here');
  const text = 'a kubelet runs here: both would use the same container runtime, ports and node name';
  return finding(
    'kubelet',
    'runtime',
    'warn',
    text,
    'if it is not wanted: `systemctl disable --now kubelet`',
  );
}

function checkRuntime({ runtimeAt }: Facts, { runtime, runtimeEndpoint }: Plan): Finding {
  const name = 'container-runtime';
  if (runtime === 'process') return pass(name, 'runtime', 'not needed: containers are run as processes');
  if (runtimeAt !== undefined) return pass(name, 'runtime', `answers at ${runtimeAt}`);
  if (runtime === 'auto') return pass(name, 'runtime', 'none answers: containers are run as processes');
  const text = `nothing answers at ${runtimeEndpoint}`;
  const fix =
    'start containerd or CRI-O, name its socket with --remote-runtime-endpoint, or use --runtime process';
  return finding(name, 'runtime', 'fail', text, fix);
}

function checkCgroupDriver({ runtimeCgroupDriver: used }: Facts, { cgroupDriver: asked }: Plan): Finding {
  const name = 'cgroup-driver';
  if (asked === undefined) return pass(name, 'runtime', "the runtime's own");
  if (used === undefined) return pass(name, 'runtime', `${asked} is asked for; no runtime says otherwise`);
  if (used === asked) return pass(name, 'runtime', asked);
  const text = `${asked} is asked for, and the container runtime uses ${used}`;
  const fix = `leave out --cgroupdriver (cgroupDriver in edgecore.yaml), or ${driverFix(asked)}`;
  return finding(name, 'runtime', 'fail', text, fix);
}

function checkTools({ missingTools, namespaceRefused }: Facts, { runtime }: Plan): Finding {
  if (runtime === 'cri') return pass('tools', 'runtime', 'not needed with a container runtime');
  if (missingTools.length > 0) {
    const text = `${missingTools.join(', ')} not found, which start containers as processes`;
    return finding(
      'tools',
      'runtime',
      'fail',
      text,
      'install util-linux: `apt-get install util-linux mount`',
    );
  }
  if (namespaceRefused !== undefined) {
    const text = `this machine lets us have no mount namespace (${namespaceRefused}): containers with volumes wait`;
    return finding('tools', 'runtime', 'warn', text, 'run as root, or allow user namespaces');
  }
  return pass('tools', 'runtime', 'all there, and volumes can be mounted');
}

function checkSeLinux({ seLinux }: Facts): Finding {
  if (seLinux !== 'enforcing') return pass('selinux', 'security', seLinux);
  const text = 'SELinux enforces: containers may be kept from volumes and from hostPaths without its labels';
  return finding(
    'selinux',
    'security',
    'warn',
    text,
    'look at `ausearch -m avc` if something is denied, or `setenforce 0`',
  );
}

function atLeast(
  name: string,
  subject: Subject,
  value: number,
  { fail, warn }: { readonly fail: number; readonly warn: number },
  text: string,
  fix: string,
): Finding {
  if (value >= warn) return pass(name, subject, text);
  return finding(name, subject, value < fail ? 'fail' : 'warn', text, fix);
}

function mebibytes(bytes: number): number {
  return Math.floor(bytes / mebibyte);
}

function time(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
