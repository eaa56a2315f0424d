import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { type Log, silentLog } from '#beehive/log.ts';
import { goRounds } from './rounds.ts';

let clock: ManualClock;
let stop: AbortController;
let running: Promise<void>;
let looks: number;
let warned: string[];
let answer: () => boolean;

beforeEach(() => {
  clock = new ManualClock();
  stop = new AbortController();
  looks = 0;
  warned = [];
  answer = () => false;
  const log: Log = { ...silentLog, warn: (_fields, text) => void warned.push(text) };
  const look = async () => {
    looks += 1;
    return answer();
  };
  running = goRounds({ everyMs: 1000, look, fault: 'cannot look' }, { clock, log }, stop.signal);
});
afterEach(async () => {
  stop.abort();
  await running;
});

it('looks at once, and then after each pause', async () => {
  expect(looks).toBe(1);
  await clock.advance(3000);
  expect(looks).toBe(4);
});

it('looks again without a pause when a look asks for it', async () => {
  answer = () => looks < 5;
  await clock.advance(1000);
  expect(looks).toBe(5);
});

it('goes on after a look that fails, and says so once until one succeeds', async () => {
  answer = () => {
    throw new Error('no disk');
  };
  await clock.advance(3000);
  expect(looks).toBe(4);
  expect(warned).toEqual(['cannot look']);
  answer = () => false;
  await clock.advance(1000);
  answer = () => {
    throw new Error('no disk');
  };
  await clock.advance(1000);
  expect(warned).toEqual(['cannot look', 'cannot look']);
});

it('ends when it is told to, in the middle of a pause', async () => {
  stop.abort();
  await running;
  await clock.advance(5000);
  expect(looks).toBe(1);
});
