import { expect, it } from 'vitest';
import { ManualClock } from './clock.ts';
import { UnrecoverableError } from './errors.ts';
import { silentLog } from './log.ts';
import type { Module } from './module.ts';
import { seededRandom } from './random.ts';
import { defaultSupervisorOptions, supervise } from './supervisor.ts';

function setUp() {
  const clock = new ManualClock();
  return { clock, components: { clock, random: seededRandom(1), log: silentLog }, events: [] as string[] };
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

it('starts each module when the one before is ready, and stops them in reverse', async () => {
  const { components, events } = setUp();
  const openGate: (() => void)[] = [];
  const gate = new Promise<void>((resolve) => openGate.push(resolve));
  const module = (name: string, before: Promise<void>): Module => ({
    name,
    async run(signal, ready) {
      events.push(`start ${name}`);
      await before;
      ready();
      await untilAborted(signal);
      events.push(`stop ${name}`);
    },
  });
  const stop = new AbortController();
  const done = supervise([module('store', gate), module('hub', Promise.resolve())], components, stop.signal);
  await turn();
  expect(events).toEqual(['start store']);
  for (const open of openGate) open();
  await turn();
  expect(events).toEqual(['start store', 'start hub']);
  stop.abort();
  await done;
  expect(events.slice(2)).toEqual(['stop hub', 'stop store']);
});

it('ends with a run what it has left behind: a module may fail as often as it likes', async () => {
  const { clock, components } = setUp();
  const signals: AbortSignal[] = [];
  const left: number[] = [];
  const broken: Module = {
    name: 'broken',
    async run(signal) {
      signals.push(signal);
      const run = signals.length;
      void untilAborted(signal).then(() => left.push(run));
      throw new Error('no broker');
    },
  };
  const stop = new AbortController();
  const done = supervise([broken], components, stop.signal);
  await turn();
  await clock.advance(3_600_000);
  expect(signals.length).toBeGreaterThan(100);
  expect(new Set(signals).size).toBe(signals.length);
  expect(left).toEqual(signals.map((_, at) => at + 1));
  stop.abort();
  await done;
});

it('starts a failing module again with growing pauses, and lets the next ones start meanwhile', async () => {
  const { clock, components } = setUp();
  const startedAtMs: number[] = [];
  let other = false;
  const broken: Module = {
    name: 'broken',
    async run() {
      startedAtMs.push(clock.monotonicMs());
      throw new Error('no broker');
    },
  };
  const next: Module = {
    name: 'next',
    async run(signal) {
      other = true;
      await untilAborted(signal);
    },
  };
  const stop = new AbortController();
  const done = supervise([broken, next], components, stop.signal);
  await turn();
  expect(other).toBe(true);
  await clock.advance(3000);
  stop.abort();
  await done;
  const pauses = startedAtMs.slice(1).map((at, index) => at - (startedAtMs[index] ?? 0));
  expect(pauses.length).toBeGreaterThanOrEqual(3);
  pauses.forEach((pauseMs, index) => {
    expect(pauseMs).toBeGreaterThan(200 * 2 ** index * 0.79);
    expect(pauseMs).toBeLessThanOrEqual(200 * 2 ** index);
  });
});

it('ends all when a module says that trying again cannot help', async () => {
  const { components, events } = setUp();
  const steady: Module = {
    name: 'steady',
    async run(signal, ready) {
      ready();
      await untilAborted(signal);
      events.push('steady stopped');
    },
  };
  const hopeless: Module = {
    name: 'hopeless',
    async run() {
      throw new UnrecoverableError('port 10000 is taken', { exitCode: 3 });
    },
  };
  await expect(supervise([steady, hopeless], components, new AbortController().signal)).rejects.toMatchObject(
    {
      detail: { exitCode: 3 },
    },
  );
  expect(events).toEqual(['steady stopped']);
});

it('does not wait for ever for a module that does not stop', async () => {
  const { clock, components } = setUp();
  const stuck: Module = {
    name: 'stuck',
    run(_signal, ready) {
      ready();
      return new Promise(() => {});
    },
  };
  const stop = new AbortController();
  const done = supervise([stuck], components, stop.signal);
  await turn();
  stop.abort();
  await turn();
  await clock.advance(defaultSupervisorOptions.drainMs);
  await done;
});
