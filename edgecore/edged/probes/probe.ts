/** One probe of one container: its settings with the API's defaults, and what a row of results means. Pure. */

import type { PodProbe } from '../pod/pod.ts';

export interface ProbeSettings {
  readonly initialDelayMs: number;
  readonly timeoutMs: number;
  readonly periodMs: number;
  readonly successThreshold: number;
  readonly failureThreshold: number;
}

export type ProbeKind = 'Startup' | 'Liveness' | 'Readiness';

export interface ProbeResult {
  readonly ok: boolean;
  /** Why not. */
  readonly message: string;
}

/** A verdict stands until enough results in a row say otherwise. */
export interface ProbeState {
  readonly holds: boolean | undefined;
  readonly streak: { readonly ok: boolean; readonly count: number } | undefined;
}

export const unprobed: ProbeState = { holds: undefined, streak: undefined };

export function probeSettings(probe: PodProbe): ProbeSettings {
  const count = (value: number | null | undefined, standard: number) =>
    value === null || value === undefined || value < 1 ? standard : value;
  return {
    initialDelayMs: Math.max(0, probe.initialDelaySeconds ?? 0) * 1000,
    timeoutMs: count(probe.timeoutSeconds, 1) * 1000,
    periodMs: count(probe.periodSeconds, 10) * 1000,
    successThreshold: count(probe.successThreshold, 1),
    failureThreshold: count(probe.failureThreshold, 3),
  };
}

export function judge(state: ProbeState, ok: boolean, settings: ProbeSettings): ProbeState {
  const count = state.streak?.ok === ok ? state.streak.count + 1 : 1;
  const enough = count >= (ok ? settings.successThreshold : settings.failureThreshold);
  return { holds: enough ? ok : state.holds, streak: { ok, count } };
}
