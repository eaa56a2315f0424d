/**
 * Who a process is: its pid, when it started, and in which boot. A pid alone may be somebody else's by now, so
 * nothing is signalled before its identity was checked.
 */

import { readFileSync } from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot: field 22 of /proc/<pid>/stat. */
  readonly start: string;
}

export interface ProcessStat {
  readonly state: string;
  readonly group: number;
  readonly start: string;
  /** Its own, and those of its children that have ended. */
  readonly cpuTicks: number;
  readonly residentPages: number;
}

/** Undefined when there is no such process. */
export function readStat(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  return parseStat(text);
}

/** The name in field 2 may hold spaces and parentheses: fields are counted from its last one. */
export function parseStat(text: string): ProcessStat | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, , group] = fields;
  const start = fields[19];
  if (state === undefined || group === undefined || start === undefined) return undefined;
  return {
    state,
    group: Number(group),
    start,
    cpuTicks: fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0),
    residentPages: Number(fields[21]),
  };
}

export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : { pid, start: stat.start };
}

/** A zombie has ended: only its parent has not looked yet. */
export function isAlive(identity: ProcessIdentity): boolean {
  const stat = readStat(identity.pid);
  return stat !== undefined && stat.start === identity.start && stat.state !== 'Z' && stat.state !== 'X';
}

/** Sends a signal to the process, or to its group; false when it is gone. */
export function signal(identity: ProcessIdentity, name: NodeJS.Signals, to: 'process' | 'group'): boolean {
  const stat = readStat(identity.pid);
  if (stat !== undefined && stat.start !== identity.start) return false;
  if (stat === undefined && to === 'process') return false;
  try {
    process.kill(to === 'group' ? -identity.pid : identity.pid, name);
    return true;
  } catch {
    return false;
  }
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}
