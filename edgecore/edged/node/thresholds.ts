/**
 * When a resource of the node counts as short: the kubelet's signals and amounts (`memory.available: 100Mi`,
 * `nodefs.available: 10%`), what they mean for the node's conditions, and whether they are met; pure.
 */

import { parseQuantity } from '#protocol/quantity.ts';
import type { FilesystemUse, MachineUse } from './machine-use.ts';

export const signals = [
  'memory.available',
  'nodefs.available',
  'nodefs.inodesFree',
  'imagefs.available',
  'imagefs.inodesFree',
  'pid.available',
] as const;
export type Signal = (typeof signals)[number];

export type PressureCondition = 'MemoryPressure' | 'DiskPressure' | 'PIDPressure';

export interface Observation {
  readonly available: number;
  readonly capacity: number;
}

/** As written: a quantity, or a part of the capacity. */
export type Amount = string;

export interface Threshold {
  readonly signal: Signal;
  readonly amount: Amount;
  /** How long it must be met before a pod is evicted for it; undefined: not at all. */
  readonly softMs: number | undefined;
  /** Once met, this much more must be there before it is over. */
  readonly minReclaim: Amount | undefined;
}

type Amounts = Readonly<Partial<Record<Signal, Amount>>>;

export interface ThresholdConfig {
  readonly hard: Amounts;
  readonly soft: Amounts;
  readonly softMs: Readonly<Partial<Record<Signal, number>>>;
  readonly minReclaim: Amounts;
}

/** The kubelet's. */
export const hardDefaults: Amounts = {
  'memory.available': '100Mi',
  'nodefs.available': '10%',
  'nodefs.inodesFree': '5%',
  'imagefs.available': '15%',
  'imagefs.inodesFree': '5%',
};

export function isAmount(text: string): boolean {
  const value = text.endsWith('%') ? Number(text.slice(0, -1)) : parseQuantity(text);
  return Number.isFinite(value) && value >= 0 && !(text.endsWith('%') && value > 100);
}

export function thresholdsOf({ hard, soft, softMs, minReclaim }: ThresholdConfig): readonly Threshold[] {
  const of = (amounts: Amounts, isSoft: boolean) =>
    signals.flatMap((signal) => {
      const amount = amounts[signal];
      const grace = isSoft ? softMs[signal] : undefined;
      // The kubelet takes 0% and 100% of a threshold as none.
      if (amount === undefined || amount === '0%' || amount === '100%') return [];
      if (isSoft && grace === undefined) return [];
      return [{ signal, amount, softMs: grace, minReclaim: minReclaim[signal] }];
    });
  return [...of(hard, false), ...of(soft, true)];
}

export function amountOf(amount: Amount, capacity: number): number {
  if (amount.endsWith('%')) return (capacity * Number(amount.slice(0, -1))) / 100;
  return parseQuantity(amount);
}

/** Signals that cannot be asked are absent: what is not known is not short. */
export function observe(use: MachineUse): ReadonlyMap<Signal, Observation> {
  const found = new Map<Signal, Observation>();
  const { memory, nodefs, imagefs, processes } = use;
  if (memory.capacityBytes > 0)
    found.set('memory.available', { available: memory.availableBytes, capacity: memory.capacityBytes });
  const disk = (name: 'nodefs' | 'imagefs', it: FilesystemUse | undefined) => {
    if (it === undefined) return;
    found.set(`${name}.available`, { available: it.availableBytes, capacity: it.capacityBytes });
    // Some filesystems have no fixed number of inodes, and say zero.
    if (it.inodes > 0) found.set(`${name}.inodesFree`, { available: it.inodesFree, capacity: it.inodes });
  };
  disk('nodefs', nodefs);
  disk('imagefs', imagefs);
  if (processes.max > 0) {
    const available = processes.max - processes.current;
    found.set('pid.available', { available, capacity: processes.max });
  }
  return found;
}

/** `enough`: also with the minimum that is to be reclaimed once it was met. */
export function isMet(
  { signal, amount, minReclaim }: Threshold,
  observed: ReadonlyMap<Signal, Observation>,
  enough: boolean,
): boolean {
  const it = observed.get(signal);
  if (it === undefined) return false;
  const reclaim = enough && minReclaim !== undefined ? amountOf(minReclaim, it.capacity) : 0;
  return it.available < amountOf(amount, it.capacity) + reclaim;
}

export function conditionOf(signal: Signal): PressureCondition {
  if (signal === 'memory.available') return 'MemoryPressure';
  return signal === 'pid.available' ? 'PIDPressure' : 'DiskPressure';
}

/** The resource as messages name it. */
export function resourceOf(signal: Signal): 'memory' | 'ephemeral-storage' | 'inodes' | 'pids' {
  if (signal === 'memory.available') return 'memory';
  if (signal === 'pid.available') return 'pids';
  return signal.endsWith('inodesFree') ? 'inodes' : 'ephemeral-storage';
}
