import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  backoffFirstMs,
  backoffMaxMs,
  backoffResetAfterMs,
  type Observed,
  type ObservedContainer,
  plan,
  restartAt,
  type Step,
} from './plan.ts';
import { type Pod, podSchema } from './pod.ts';

const nowMs = 1_000_000_000;

function podOf(spec: Record<string, unknown> = {}, rest: Record<string, unknown> = {}): Pod {
  return podSchema.parse({
    metadata: { name: 'p', namespace: 'default', uid: 'u' },
    spec: { containers: [{ name: 'main', image: 'i' }], ...spec },
    ...rest,
  });
}

function container(over: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    id: `${over.name ?? 'main'}-${over.attempt ?? 0}`,
    sandboxId: 's0',
    name: 'main',
    attempt: 0,
    image: 'i',
    state: 'running',
    createdAtMs: nowMs - 5000,
    startedAtMs: nowMs - 5000,
    finishedAtMs: undefined,
    exitCode: undefined,
    reason: '',
    message: '',
    backoffMs: 0,
    ...over,
  };
}

const exited = (over: Partial<ObservedContainer> = {}) =>
  container({ state: 'exited', exitCode: 1, finishedAtMs: nowMs - 1000, ...over });
const sandbox = { id: 's0', attempt: 0, ready: true };
const seen = (...containers: ObservedContainer[]): Observed => ({ sandboxes: [sandbox], containers });
const steps = (pod: Pod, observed: Observed, ending?: { graceMs: number; removed: boolean }) =>
  plan({ pod, ending }, observed, nowMs).steps;
const verbs = (all: readonly Step[]) => all.map((it) => it.do);

describe('plan of a pod that is wanted', () => {
  it('makes a sandbox, then starts, then rests', () => {
    expect(steps(podOf(), { sandboxes: [], containers: [] })).toEqual([
      { do: 'run-sandbox', attempt: 0, replaces: [] },
    ]);
    expect(steps(podOf(), seen())).toEqual([
      { do: 'start', sandboxId: 's0', name: 'main', attempt: 0, backoffMs: 0 },
    ]);
    expect(steps(podOf(), seen(container()))).toEqual([]);
  });

  it.each([
    ['Always', 0, ['start']],
    ['Always', 1, ['start']],
    ['OnFailure', 1, ['start']],
    ['OnFailure', 0, ['stop-sandbox']],
    ['Never', 1, ['stop-sandbox']],
    ['Never', 0, ['stop-sandbox']],
  ])('restartPolicy %s after exit %i: %j', (restartPolicy, exitCode, wanted) => {
    expect(verbs(steps(podOf({ restartPolicy }), seen(exited({ exitCode }))))).toEqual(wanted);
  });

  it('counts attempts on from the runtime, and from the stored status where the runtime has forgotten', () => {
    expect(steps(podOf(), seen(exited({ attempt: 4 })))).toMatchObject([{ attempt: 5 }]);
    const stored = { containerStatuses: [{ name: 'main', restartCount: 3, containerID: 'process://x' }] };
    expect(steps(podOf({}, { status: stored }), seen())).toMatchObject([{ attempt: 4 }]);
  });

  it('waits out the back-off and says why', () => {
    const made = plan({ pod: podOf(), ending: undefined }, seen(exited({ backoffMs: 10_000 })), nowMs);
    expect(made.steps).toEqual([]);
    expect(made.wakeAtMs).toBe(nowMs - 1000 + 10_000);
    expect(made.waiting.get('main')?.reason).toBe('CrashLoopBackOff');
  });

  it('doubles the pause to five minutes and begins anew after ten good minutes', () => {
    let backoffMs = 0;
    const pauses: number[] = [];
    for (let n = 0; n < 8; n += 1) {
      const { atMs, nextBackoffMs } = restartAt(exited({ backoffMs, startedAtMs: nowMs - 2000 }), 's0');
      pauses.push(atMs - (nowMs - 1000));
      backoffMs = nextBackoffMs;
    }
    expect(pauses).toEqual([0, 10_000, 20_000, 40_000, 80_000, 160_000, backoffMaxMs, backoffMaxMs]);
    const long = exited({ backoffMs, startedAtMs: nowMs - 1000 - backoffResetAfterMs });
    expect(restartAt(long, 's0')).toEqual({ atMs: nowMs - 1000, nextBackoffMs: backoffFirstMs });
  });

  it('after a reboot takes a new sandbox and starts again at once', () => {
    const rebooted: Observed = {
      sandboxes: [{ ...sandbox, ready: false }],
      containers: [exited({ attempt: 2, exitCode: 255, backoffMs: 300_000 })],
    };
    expect(steps(podOf(), rebooted)).toEqual([{ do: 'run-sandbox', attempt: 1, replaces: ['s0'] }]);
    const next = { ...rebooted, sandboxes: [...rebooted.sandboxes, { id: 's1', attempt: 1, ready: true }] };
    expect(steps(podOf(), next)).toMatchObject([{ do: 'start', sandboxId: 's1', attempt: 3 }]);
  });

  it('starts what was created, whose start may be under way, and replaces it only when it is of no use', () => {
    const created = container({ state: 'created', backoffMs: 20_000 });
    expect(steps(podOf(), seen(created))).toEqual([
      { do: 'start', sandboxId: 's0', name: 'main', attempt: 0, backoffMs: 20_000, createdId: 'main-0' },
    ]);
    for (const useless of [
      { ...created, image: 'old' },
      { ...created, sandboxId: 'old' },
    ])
      expect(steps(podOf(), seen(useless))).toEqual([
        { do: 'remove-container', containerId: 'main-0' },
        { do: 'start', sandboxId: 's0', name: 'main', attempt: 0, backoffMs: 20_000 },
      ]);
  });

  it('runs init containers one after the other, before the others', () => {
    const pod = podOf({
      initContainers: [
        { name: 'a', image: 'i' },
        { name: 'b', image: 'i' },
      ],
    });
    const done = (name: string) => exited({ name, exitCode: 0 });
    expect(steps(pod, seen())).toMatchObject([{ do: 'start', name: 'a' }]);
    expect(steps(pod, seen(container({ name: 'a' })))).toEqual([]);
    expect(steps(pod, seen(done('a')))).toMatchObject([{ name: 'b' }]);
    expect(steps(pod, seen(done('a'), done('b')))).toMatchObject([{ name: 'main' }]);
    expect(steps(pod, seen(done('a'), done('b'), exited()))).toMatchObject([{ name: 'main', attempt: 1 }]);
    expect(steps(pod, seen(exited({ name: 'a' })))).toMatchObject([{ name: 'a', attempt: 1 }]);
    const never = podSchema.parse({ ...pod, spec: { ...pod.spec, restartPolicy: 'Never' } });
    expect(verbs(steps(never, seen(exited({ name: 'a' }))))).toEqual(['stop-sandbox']);
  });

  it('lets a sidecar run on and ends it when the others have finished', () => {
    const pod = podOf({
      restartPolicy: 'Never',
      initContainers: [{ name: 'side', image: 'i', restartPolicy: 'Always' }],
    });
    const side = container({ name: 'side' });
    expect(steps(pod, seen())).toMatchObject([{ name: 'side' }]);
    expect(steps(pod, seen(side))).toMatchObject([{ name: 'main' }]);
    expect(steps(pod, seen(side, exited()))).toMatchObject([{ do: 'stop', name: 'side' }]);
  });

  it('replaces a container whose image was changed', () => {
    expect(steps(podOf(), seen(container({ image: 'old' })))).toMatchObject([{ do: 'stop', name: 'main' }]);
    const old = exited({ image: 'old', exitCode: 0, backoffMs: 300_000 });
    expect(steps(podOf({ restartPolicy: 'OnFailure' }), seen(old))).toEqual([
      { do: 'stop-sandbox', sandboxId: 's0' },
    ]);
    expect(steps(podOf(), seen(old))).toMatchObject([{ do: 'start', attempt: 1 }]);
  });

  it('keeps one dead container of each name, also while it waits to start again', () => {
    const dead = [0, 1, 2].map((attempt) => exited({ attempt }));
    const gone = [
      { do: 'remove-container', containerId: 'main-0' },
      { do: 'remove-container', containerId: 'main-1' },
    ];
    expect(steps(podOf(), seen(...dead, container({ attempt: 3 })))).toEqual(gone);
    const waiting = [0, 1, 2].map((attempt) => exited({ attempt, backoffMs: 10_000 }));
    expect(steps(podOf(), seen(...waiting))).toEqual(gone);
    expect(steps(podOf(), seen(container()))).toEqual([]);
  });

  it('keeps more of them, or younger ones, when told to', () => {
    const dead = [0, 1, 2].map((attempt) => exited({ attempt, createdAtMs: nowMs - 5000 + attempt }));
    const observed = seen(...dead, container({ attempt: 3 }));
    const of = (max: number, ageMinMs: number) =>
      plan({ pod: podOf(), ending: undefined, deadKept: { max, ageMinMs } }, observed, nowMs);
    expect(verbs(of(2, 0).steps)).toEqual(['remove-container']);
    expect(of(-1, 0).steps).toEqual([]);
    expect(of(0, 0).steps).toHaveLength(2);
    expect(of(1, 5000)).toMatchObject({ steps: [{ containerId: 'main-0' }], wakeAtMs: nowMs + 1 });
  });
});

describe('plan of a pod that ends', () => {
  const ending = { graceMs: 7000, removed: false };

  it('stops all, then the sandbox, then has finished; removes only what the API has forgotten', () => {
    expect(steps(podOf(), seen(container()), ending)).toMatchObject([{ do: 'stop', graceMs: 7000 }]);
    expect(verbs(steps(podOf(), seen(exited()), ending))).toEqual(['stop-sandbox']);
    const stopped = { sandboxes: [{ ...sandbox, ready: false }], containers: [exited()] };
    expect(plan({ pod: podOf(), ending }, stopped, nowMs)).toMatchObject({ steps: [], finished: true });
    const removed = { ...ending, removed: true };
    expect(verbs(steps(podOf(), stopped, removed))).toEqual(['remove-sandbox']);
    expect(plan({ pod: podOf(), ending: removed }, { sandboxes: [], containers: [] }, nowMs).finished).toBe(
      true,
    );
  });
});

describe('whatever the runtime says', () => {
  const anyContainer = fc.record({
    name: fc.constantFrom('main', 'second', 'init', 'unknown'),
    attempt: fc.nat(4),
    sandboxId: fc.constantFrom('s0', 's1'),
    state: fc.constantFrom('created', 'running', 'exited', 'unknown'),
    exitCode: fc.constantFrom(0, 1, 255),
    backoffMs: fc.constantFrom(0, 10_000, 300_000),
  });
  const anyObserved = fc
    .uniqueArray(anyContainer, { selector: (it) => `${it.name}#${it.attempt}`, maxLength: 8 })
    .map((all) => all.map((it) => container({ ...it, finishedAtMs: nowMs - 1000 }) as ObservedContainer))
    .chain((containers) =>
      fc
        .subarray([sandbox, { id: 's1', attempt: 1, ready: true }])
        .map((sandboxes) => ({ sandboxes, containers })),
    );
  const anyPod = fc.constantFrom('Always', 'OnFailure', 'Never').map((restartPolicy) =>
    podOf({
      restartPolicy,
      initContainers: [{ name: 'init', image: 'i' }],
      containers: [
        { name: 'main', image: 'i' },
        { name: 'second', image: 'i' },
      ],
    }),
  );

  it('never starts beside a running container of that name, and never with an attempt that is taken', () => {
    fc.assert(
      fc.property(anyPod, anyObserved, (pod, observed) => {
        const all = steps(pod, observed);
        const removed = new Set(all.flatMap((it) => (it.do === 'remove-container' ? [it.containerId] : [])));
        for (const it of all) {
          if (it.do !== 'start') continue;
          const same = observed.containers.filter(
            (other) => other.name === it.name && !removed.has(other.id) && other.id !== it.createdId,
          );
          expect(same.some((other) => other.state === 'running')).toBe(false);
          expect(same.every((other) => other.attempt < it.attempt)).toBe(true);
        }
      }),
    );
  });

  it('never starts, and always has a way to the end, when the pod ends', () => {
    fc.assert(
      fc.property(anyPod, anyObserved, fc.boolean(), (pod, observed, removed) => {
        const made = plan({ pod, ending: { graceMs: 1, removed } }, observed, nowMs);
        expect(verbs(made.steps)).not.toContain('start');
        expect(made.steps.length > 0 || made.finished).toBe(true);
      }),
    );
  });
});
