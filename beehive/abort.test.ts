import { getEventListeners } from 'node:events';
import { expect, it } from 'vitest';
import { CancelledError } from '#protocol/errors.ts';
import { aborted, unlessAborted } from './abort.ts';

it('gives the outcome of the work, and leaves nothing on the signal', async () => {
  const { signal } = new AbortController();
  for (let round = 0; round < 100; round += 1)
    expect(await unlessAborted(Promise.resolve(7), signal)).toBe(7);
  await expect(unlessAborted(Promise.reject(new Error('of its own')), signal)).rejects.toThrow('of its own');
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

it('ends at the abort, before or during the work, and nobody is told of a failure after that', async () => {
  const stop = new AbortController();
  let fail = (_error: Error) => {};
  const work = new Promise<void>((_, reject) => {
    fail = reject;
  });
  const waiting = unlessAborted(work, stop.signal);
  const over = aborted(stop.signal);
  stop.abort();
  await over;
  await expect(waiting).rejects.toBeInstanceOf(CancelledError);
  await expect(unlessAborted(work, stop.signal)).rejects.toBeInstanceOf(CancelledError);
  fail(new Error('late'));
  await aborted(stop.signal);
});
