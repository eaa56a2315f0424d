/**
 * What must be sent to an edge so that it holds what it should: pure. The rule that matters most is what is
 * NOT removed: a deletion needs a reason (`mayRemove`), never just an absence.
 */

/** An object that an edge should hold. */
export interface Wanted {
  readonly uid: string;
  readonly resourceVersion: string;
  /** The version of the last change that matters to an edge; the versions since differ in nothing it reads. */
  readonly changedVersion: string;
}

/** An object that an edge is known to hold (or was sent). */
export interface HeldVersion {
  readonly uid: string;
  readonly version: string;
}

export type Step =
  | { readonly do: 'remove'; readonly path: string; readonly uid: string }
  | { readonly do: 'send'; readonly path: string; readonly uid: string; readonly version: string };

/**
 * Removals come first, in the reverse of the order in which they were sent (a pod before what it names), then what
 * is sent in the order of `wanted`; so an object that took the name of another follows that one's removal. Versions compare by inequality: a restored API may count lower.
 */
export function difference(
  wanted: ReadonlyMap<string, Wanted>,
  held: ReadonlyMap<string, HeldVersion>,
  mayRemove: (path: string, held: HeldVersion) => boolean,
): Step[] {
  const removals: Step[] = [];
  for (const [path, { uid, version }] of held) {
    if (wanted.get(path)?.uid === uid) continue;
    if (mayRemove(path, { uid, version })) removals.push({ do: 'remove', path, uid });
  }
  const sends: Step[] = [];
  for (const [path, { uid, resourceVersion, changedVersion }] of wanted) {
    const has = held.get(path);
    const same = has?.uid === uid && (has.version === resourceVersion || has.version === changedVersion);
    if (!same) sends.push({ do: 'send', path, uid, version: changedVersion });
  }
  return [...removals.reverse(), ...sends];
}

/** What the edge holds once the steps have been carried out. */
export function applySteps(
  held: ReadonlyMap<string, HeldVersion>,
  steps: readonly Step[],
): Map<string, HeldVersion> {
  const result = new Map(held);
  for (const step of steps) {
    if (step.do === 'remove') result.delete(step.path);
    else result.set(step.path, { uid: step.uid, version: step.version });
  }
  return result;
}
