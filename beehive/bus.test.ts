import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Envelope, newEnvelope, reply } from '#protocol/message.ts';
import { Bus, type InboxOptions } from './bus.ts';
import { ManualClock } from './clock.ts';
import { silentLog } from './log.ts';

function createBus(inboxes: Record<string, InboxOptions>) {
  const clock = new ManualClock();
  const bus = new Bus({ clock, log: silentLog });
  for (const [name, options] of Object.entries(inboxes)) bus.open(name, options);
  return { bus, clock };
}

function envelope(resource: string, content: unknown = null): Envelope {
  return newEnvelope({ source: 'edged', group: 'meta', operation: 'update', resource }, content);
}

const wide: InboxOptions = { capacity: 1000, lanesMax: 8 };

describe('an inbox', () => {
  it('keeps what was sent before its module ran', async () => {
    const { bus } = createBus({ a: wide });
    expect(bus.send('a', envelope('x', 1))).toBe('accepted');
    const got: unknown[] = [];
    const stop = new AbortController();
    await bus.serve(
      'a',
      async (message) => {
        got.push(message.content);
        stop.abort();
      },
      stop.signal,
    );
    expect(got).toEqual([1]);
  });

  it('says full and takes nothing beyond its capacity, and says when there is room', async () => {
    const { bus } = createBus({ a: { capacity: 2, lanesMax: 1 } });
    expect([1, 2, 3].map((n) => bus.send('a', envelope('x', n)))).toEqual(['accepted', 'accepted', 'full']);
    const drained = bus.drained('a');
    const stop = new AbortController();
    const got: unknown[] = [];
    const served = bus.serve('a', async (message) => void got.push(message.content), stop.signal);
    await drained;
    expect(bus.send('a', envelope('x', 4))).toBe('accepted');
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort();
    await served;
    expect(got).toEqual([1, 2, 4]);
  });

  it('goes on after a handler that throws', async () => {
    const { bus } = createBus({ a: wide });
    const got: unknown[] = [];
    const stop = new AbortController();
    for (const n of [1, 2]) bus.send('a', envelope('x', n));
    await bus.serve(
      'a',
      async (message) => {
        if (message.content === 1) throw new Error('no');
        got.push(message.content);
        stop.abort();
      },
      stop.signal,
    );
    expect(got).toEqual([2]);
    expect(bus.depths().get('a')).toBe(0);
  });

  it('keeps for the next run what was not started, in order, and waits for what was', async () => {
    const { bus } = createBus({ a: { capacity: 10, lanesMax: 1 } });
    for (const n of [1, 2, 3]) bus.send('a', envelope('x', n));
    const got: unknown[] = [];
    const first = new AbortController();
    await bus.serve(
      'a',
      async (message) => {
        first.abort();
        await new Promise((resolve) => setImmediate(resolve));
        got.push(message.content);
      },
      first.signal,
    );
    expect(got).toEqual([1]);
    const second = new AbortController();
    await bus.serve(
      'a',
      async (message) => {
        got.push(message.content);
        if (message.content === 3) second.abort();
      },
      second.signal,
    );
    expect(got).toEqual([1, 2, 3]);
  });

  it('handles one key in order and one at a time, others side by side, whatever comes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 })), { maxLength: 40 }),
        async (jobs) => {
          const { bus } = createBus({ a: { capacity: 100, lanesMax: 3 } });
          const order = new Map<string, number[]>();
          const busy = new Set<string>();
          let most = 0;
          let left = jobs.length;
          const stop = new AbortController();
          if (left === 0) stop.abort();
          for (const [index, [key, turns]] of jobs.entries())
            bus.send('a', envelope(`k${key}`, { index, turns }));
          await bus.serve(
            'a',
            async ({ route, content }) => {
              const { index, turns } = content as { index: number; turns: number };
              expect(busy.has(route.resource)).toBe(false);
              busy.add(route.resource);
              most = Math.max(most, busy.size);
              order.set(route.resource, [...(order.get(route.resource) ?? []), index]);
              for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
              busy.delete(route.resource);
              left -= 1;
              if (left === 0) stop.abort();
            },
            stop.signal,
          );
          expect(most).toBeLessThanOrEqual(3);
          for (const indexes of order.values()) expect(indexes).toEqual([...indexes].sort((a, b) => a - b));
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('a request', () => {
  it('resolves with the answer that names it, past a full inbox of who asked', async () => {
    const { bus } = createBus({ asker: { capacity: 1, lanesMax: 1 }, answerer: wide });
    bus.send('asker', envelope('fills it'));
    const stop = new AbortController();
    const served = bus.serve(
      'answerer',
      async (message) => void bus.answer(reply(message, 'yes')),
      stop.signal,
    );
    const answer = await bus.request('answerer', envelope('x'), { timeoutMs: 1000 });
    expect(answer.content).toBe('yes');
    stop.abort();
    await served;
  });

  it('ends after its timeout, and a late answer finds nobody', async () => {
    const { bus, clock } = createBus({ a: wide });
    const question = envelope('x');
    const asked = bus
      .request('a', question, { timeoutMs: 5000 })
      .catch((error: { code: string }) => error.code);
    await clock.advance(5000);
    expect(await asked).toBe('timeout');
    expect(bus.answer(reply(question, 'late'))).toBe(false);
    expect(clock.sleepers).toBe(0);
  });

  it('is refused while another with its id is open, which still gets its answer', async () => {
    const { bus } = createBus({ a: wide });
    const question = envelope('x');
    const first = bus.request('a', question, { timeoutMs: 1000 });
    await expect(bus.request('a', question, { timeoutMs: 1000 })).rejects.toMatchObject({
      detail: { code: 'same-id', module: 'a', msgId: question.header.msg_id },
    });
    expect(bus.depths().get('a')).toBe(1);
    expect(bus.answer(reply(question, 'yes'))).toBe(true);
    expect((await first).content).toBe('yes');
    const again = bus.request('a', question, { timeoutMs: 1000 });
    bus.answer(reply(question, 'once more'));
    expect((await again).content).toBe('once more');
  });

  it('is refused by a full inbox, and ends with its signal', async () => {
    const { bus } = createBus({ a: { capacity: 1, lanesMax: 1 } });
    const stop = new AbortController();
    const first = bus.request('a', envelope('x'), { timeoutMs: 1000, signal: stop.signal });
    await expect(bus.request('a', envelope('x'), { timeoutMs: 1000 })).rejects.toMatchObject({
      code: 'full',
    });
    stop.abort();
    await expect(first).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('to a module that is not there is a fault of the program', () => {
    const { bus } = createBus({});
    expect(() => bus.send('nobody', envelope('x'))).toThrow(/nobody/);
  });
});

it('broadcasts to all but the sender, and taps see it', () => {
  const { bus } = createBus({ a: wide, b: wide, c: wide });
  const seen: string[] = [];
  const subscription = bus.taps.subscribe((tap) => seen.push(`${tap.to} ${tap.handed}`));
  bus.broadcast(envelope('node/connection'), 'a');
  subscription.unsubscribe();
  expect(seen).toEqual(['b accepted', 'c accepted']);
});
