import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Clock, ManualClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { isAlive } from '#edgecore/edged/runtime/process-identity.ts';
import type { Service } from './service.ts';
import {
  type ServiceState,
  serviceStateSchema,
  stateFileOf,
  supervise,
  superviseLimits,
} from './supervise.ts';

let dir: string;
let stop: AbortController;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hawser-supervise-'));
  stop = new AbortController();
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

function serviceOf(script: string): Service {
  return {
    name: 'edgecore',
    description: '',
    argv: ['/bin/sh', '-c', script],
    logFile: join(dir, 'log/edgecore.log'),
    stateDir: dir,
  };
}

function start(script: string, clock: Clock): Promise<void> {
  return supervise(serviceOf(script), { clock, random: seededRandom(1) }, stop.signal);
}

async function stateWhere(holds: (state: ServiceState) => boolean): Promise<ServiceState> {
  for (;;) {
    try {
      const state = serviceStateSchema.parse(JSON.parse(readFileSync(stateFileOf('edgecore', dir), 'utf8')));
      if (holds(state)) return state;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

it('starts a daemon again that ended, later each time, and keeps what it said', async () => {
  const clock = new ManualClock();
  const done = start('echo failing >&2; exit 3', clock);
  for (const restarts of [1, 2, 3]) {
    const state = await stateWhere((it) => it.restarts === restarts && clock.sleepers === 1);
    expect(state).toMatchObject({ lastExit: { code: 3, signal: null } });
    expect(state.daemon).toBeUndefined();
    const before = clock.now();
    while (clock.sleepers === 1 && clock.now() - before < superviseLimits.restart.maxMs)
      await clock.advance(50);
    const pausedMs = clock.now() - before;
    const fullMs = superviseLimits.restart.firstMs * 2 ** (restarts - 1);
    expect(pausedMs).toBeGreaterThanOrEqual(fullMs * (1 - superviseLimits.restart.jitter));
    expect(pausedMs).toBeLessThanOrEqual(fullMs + 50);
  }
  stop.abort();
  await done;
  expect(readFileSync(join(dir, 'log/edgecore.log'), 'utf8')).toMatch(/^(failing\n){3,}$/);
});

it('says of a command that cannot be started why', async () => {
  const clock = new ManualClock();
  const service: Service = { ...serviceOf(''), argv: [join(dir, 'no-such-daemon')] };
  const done = supervise(service, { clock, random: seededRandom(1) }, stop.signal);
  await stateWhere((state) => state.lastExit?.code === 127);
  stop.abort();
  await done;
  expect(readFileSync(service.logFile, 'utf8')).toContain('cannot start');
});

it('ends its daemon with SIGTERM, and with SIGKILL when that does not help', async () => {
  const clock = new ManualClock();
  const done = start('trap "echo asked to end" TERM; echo up; while :; do sleep 0.01; done', clock);
  const { daemon } = await stateWhere((state) => state.daemon !== undefined);
  if (daemon === undefined) throw new Error('not running');
  await logHolds('up');
  stop.abort();
  await logHolds('asked to end');
  expect(isAlive(daemon)).toBe(true);
  await clock.advance(superviseLimits.graceMs);
  await done;
  expect(isAlive(daemon)).toBe(false);
});

async function logHolds(text: string): Promise<void> {
  for (;;) {
    try {
      if (readFileSync(join(dir, 'log/edgecore.log'), 'utf8').includes(text)) return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}
