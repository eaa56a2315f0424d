import { afterEach, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import type { Container, ContainerState } from '../runtime-service.ts';
import { CriError } from './cri-client.ts';
import { CriEvents } from './cri-events.ts';

const stop = new AbortController();
afterEach(() => stop.abort());

function container(state: ContainerState): Container {
  const name = { id: 'c1', sandboxId: 's1', podUid: 'u1', name: 'app', attempt: 0, image: 'i' };
  return { ...name, state, createdAtMs: 0, labels: {}, annotations: {} };
}

/** As containerd 1.6, which has no stream of events. */
const method = 'RuntimeService/GetContainerEvents';
const client = {
  // biome-ignore lint/correctness/useYield: a stream that ends before its first event
  async *stream(): AsyncGenerator<never> {
    throw new CriError('unknown method', { code: 'cri', status: 'UNIMPLEMENTED', method });
  },
};

test('where the runtime has no stream, a change is told within a second, also after looks that failed', async () => {
  const clock = new ManualClock();
  let state: ContainerState = 'running';
  let looks = 0;
  let refuse = false;
  const events = new CriEvents({
    client,
    clock,
    log: silentLog,
    instance: 'edge-1',
    list: async () => {
      looks += 1;
      if (refuse) throw new CriError('away', { code: 'cri', status: 'UNAVAILABLE', method });
      return [[], [container(state)]];
    },
    signal: stop.signal,
  });
  const told = events.read(stop.signal);
  const next = async () => (await told.next()).value;
  expect(await next()).toEqual({ type: 'started', podUid: 'u1', containerId: 'c1' });
  await clock.advance(0);
  state = 'exited';
  await clock.advance(1_000);
  expect(await next()).toEqual({ type: 'stopped', podUid: 'u1', containerId: 'c1' });
  refuse = true;
  const before = looks;
  await clock.advance(3_000);
  expect(looks).toBe(before + 3);
  refuse = false;
  state = 'running';
  await clock.advance(1_000);
  expect(await next()).toEqual({ type: 'started', podUid: 'u1', containerId: 'c1' });
});
