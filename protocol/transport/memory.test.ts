import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { transportSuite } from '#test/suites/transport.suite.ts';
import { CancelledError } from '../errors.ts';
import { type Envelope, newEnvelope } from '../message.ts';
import { MemoryNetwork } from './memory.ts';
import type { Connection } from './transport.ts';

const clock = {
  monotonicMs: () => performance.now(),
  async sleep(ms: number, signal?: AbortSignal) {
    try {
      await delay(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      throw new CancelledError(error);
    }
  },
};

/** Time that passes only by sleeping, so that what a delay costs can be told exactly. */
class VirtualClock {
  #nowMs = 0;
  readonly #dueMs = new Set<{ readonly at: number }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const due = { at: this.#nowMs + ms };
    this.#dueMs.add(due);
    try {
      do {
        await new Promise((resolve) => setImmediate(resolve));
        if (signal?.aborted) throw new CancelledError();
      } while ([...this.#dueMs].some(({ at }) => at < due.at));
      this.#nowMs = Math.max(this.#nowMs, due.at);
    } finally {
      this.#dueMs.delete(due);
    }
  }
}

/** Numbers of a linear congruential generator: the same for the same seed. */
function seeded(seed: number): { next(): number } {
  let state = seed >>> 0;
  return {
    next() {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 4_294_967_296;
    },
  };
}

transportSuite('memory', async () => {
  const network = new MemoryNetwork({ clock, random: seeded(1) });
  return {
    transport: network,
    host: 'cloud',
    scheme: 'ws',
    through: async (port) => port,
    cut: () => network.cut(),
    silence: () => network.silence(),
    dispose: async () => network.heal(),
  };
});

async function pair(network: MemoryNetwork): Promise<{ edge: Connection; cloud: Connection }> {
  const listener = await network.listen({
    host: 'cloud',
    port: 0,
    admit: () => ({ accept: true }),
    connectionsMax: 10,
    frameBytesMax: 10_000,
  });
  const edge = await network.dial({
    url: `ws://cloud:${listener.port}/`,
    headers: {},
    handshakeTimeoutMs: 60_000,
    frameBytesMax: 10_000,
    signal: new AbortController().signal,
  });
  const accepted = await listener.connections[Symbol.asyncIterator]().next();
  if (accepted.done) throw new Error('no connection');
  return { edge, cloud: accepted.value };
}

function numbered(at: number): Envelope {
  return newEnvelope({ source: 'edged', group: 'meta', operation: 'update', resource: 'a/b/c' }, at);
}

/** Sends so many, closes in order, and gives the numbers that arrived. */
async function carried(network: MemoryNetwork, count: number): Promise<unknown[]> {
  const { edge, cloud } = await pair(network);
  const arrived: unknown[] = [];
  const reading = (async () => {
    for await (const { content } of cloud.frames) arrived.push(content);
  })();
  await Promise.all(Array.from({ length: count }, (_, at) => edge.send(numbered(at))));
  await edge.close();
  await reading;
  return arrived;
}

describe('faults of the memory network', () => {
  test('delay holds frames back, in order and side by side', async () => {
    const virtual = new VirtualClock();
    const network = new MemoryNetwork({ clock: virtual, random: seeded(2) });
    Object.assign(network.faults, { delayMinMs: 20, delayMaxMs: 40 });
    expect(await carried(network, 50)).toEqual(Array.from({ length: 50 }, (_, at) => at));
    // The frames together, and then the close.
    expect(virtual.monotonicMs()).toBeGreaterThanOrEqual(40);
    expect(virtual.monotonicMs()).toBeLessThanOrEqual(80);
  });

  test('drop loses single frames, the same for the same seed', async () => {
    const runs = await Promise.all(
      [7, 7, 8].map((seed) => {
        const network = new MemoryNetwork({ clock, random: seeded(seed) });
        network.faults.dropChance = 0.3;
        return carried(network, 100);
      }),
    );
    expect(runs[0]?.length).toBeLessThan(100);
    expect(runs[0]).toEqual(runs[1]);
    expect(runs[0]).not.toEqual(runs[2]);
    expect([...(runs[0] ?? [])].sort((a, b) => Number(a) - Number(b))).toEqual(runs[0]);
  });

  test('reorder swaps frames and loses none', async () => {
    const network = new MemoryNetwork({ clock: new VirtualClock(), random: seeded(3) });
    // Frames wait in the lane, so that one can overtake another.
    Object.assign(network.faults, { reorderChance: 0.5, delayMinMs: 5, delayMaxMs: 5 });
    const arrived = await carried(network, 50);
    const inOrder = Array.from({ length: 50 }, (_, at) => at);
    expect(arrived).not.toEqual(inOrder);
    expect([...arrived].sort((a, b) => Number(a) - Number(b))).toEqual(inOrder);
  });

  test('break ends the link at both ends, and the next dial works', async () => {
    const network = new MemoryNetwork({ clock, random: seeded(4) });
    network.faults.breakChance = 1;
    const { edge, cloud } = await pair(network);
    await expect(edge.send(numbered(1))).rejects.toMatchObject({ code: 'closed' });
    await Promise.all([edge.closed, cloud.closed]);
    network.faults.breakChance = 0;
    expect(await carried(network, 3)).toEqual([0, 1, 2]);
  });

  test('a cut network takes no dial until it is healed', async () => {
    const network = new MemoryNetwork({ clock, random: seeded(5) });
    const { edge } = await pair(network);
    network.cut();
    await edge.closed;
    await expect(pair(network)).rejects.toMatchObject({ code: 'unreachable' });
    network.heal();
    expect(await carried(network, 1)).toEqual([0]);
  });

  test('what a silent network held back arrives when it is healed', async () => {
    const network = new MemoryNetwork({ clock, random: seeded(6) });
    const { edge, cloud } = await pair(network);
    network.silence();
    const sending = edge.send(numbered(9));
    network.heal();
    await sending;
    const { value } = await cloud.frames[Symbol.asyncIterator]().next();
    expect(value.content).toBe(9);
  });
});
