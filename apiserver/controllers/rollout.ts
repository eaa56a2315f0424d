/** How many pods each ReplicaSet of a Deployment may have now: the arithmetic of a rollout, free of side effects. */

export interface RolloutSet {
  readonly name: string;
  readonly replicas: number;
  readonly available: number;
  /** Pods that still exist, ending ones included. */
  readonly pods: number;
}

export interface RolloutRules {
  readonly replicas: number;
  readonly recreate: boolean;
  /** Counts or percentages, as in the strategy. */
  readonly maxSurge: number | string;
  readonly maxUnavailable: number | string;
}

/** The new size of every set whose size has to change. `old` is given oldest first. */
export function planRollout(
  rules: RolloutRules,
  current: RolloutSet,
  old: readonly RolloutSet[],
): ReadonlyMap<string, number> {
  const plan = rules.recreate ? planRecreate(rules, current, old) : planRolling(rules, current, old);
  const sizes = new Map([current, ...old].map(({ name, replicas }) => [name, replicas]));
  return new Map([...plan].filter(([name, replicas]) => sizes.get(name) !== replicas));
}

function planRecreate(
  { replicas }: RolloutRules,
  current: RolloutSet,
  old: readonly RolloutSet[],
): ReadonlyMap<string, number> {
  const plan = new Map(old.map(({ name }) => [name, 0]));
  if (old.every((set) => set.pods === 0 && set.replicas === 0)) plan.set(current.name, replicas);
  return plan;
}

function planRolling(
  rules: RolloutRules,
  current: RolloutSet,
  old: readonly RolloutSet[],
): ReadonlyMap<string, number> {
  const { replicas } = rules;
  const { surge, unavailable } = limitsOf(rules);
  const total = [current, ...old].reduce((sum, set) => sum + set.replicas, 0);
  const room = Math.max(0, replicas + surge - total);
  const size = current.replicas > replicas ? replicas : Math.min(replicas, current.replicas + room);
  const plan = new Map([[current.name, size]]);

  const newUnavailable = Math.max(0, current.replicas - current.available);
  let mayGo = Math.max(0, total - (replicas - unavailable) - newUnavailable);
  const left = new Map(old.map((set) => [set.name, set.replicas]));
  const shrink = (set: RolloutSet, by: number) => {
    const gone = Math.max(0, Math.min(by, mayGo, left.get(set.name) ?? 0));
    left.set(set.name, (left.get(set.name) ?? 0) - gone);
    mayGo -= gone;
    return gone;
  };
  // What does not work is the first to go: it costs nobody anything.
  for (const set of old) shrink(set, set.replicas - set.available);
  const available =
    current.available + old.reduce((sum, set) => sum + Math.min(set.available, left.get(set.name) ?? 0), 0);
  mayGo = Math.min(mayGo, Math.max(0, available - (replicas - unavailable)));
  for (const set of old) shrink(set, set.replicas);
  for (const [name, count] of left) plan.set(name, count);
  return plan;
}

function limitsOf({ replicas, maxSurge, maxUnavailable }: RolloutRules) {
  const surge = share(maxSurge, replicas, Math.ceil);
  const unavailable = share(maxUnavailable, replicas, Math.floor);
  // With neither room above nor below a rollout could never begin.
  return { surge, unavailable: surge === 0 && unavailable === 0 ? 1 : Math.min(unavailable, replicas) };
}

export function share(value: number | string, of: number, round: (part: number) => number): number {
  if (typeof value === 'number') return value;
  const percent = /^(\d+)%$/.exec(value);
  return percent === null ? 0 : round((Number(percent[1]) * of) / 100);
}
