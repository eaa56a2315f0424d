import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { NodeQueue, type NodeQueueOptions } from './node-queue.ts';

const options: NodeQueueOptions = {
  windowMax: 4,
  resendAfterMs: 5_000,
  sendsMax: 5,
  pauseFirstMs: 5_000,
  pauseMaxMs: 60_000,
  pathsMax: 8,
};

function upsert(resource: string, version = '1'): Envelope {
  const route = { source: 'edgecontroller', group: 'resource', operation: 'update', resource };
  return newEnvelope(route, undefined, { resourceVersion: version });
}

function remove(resource: string, uid: string): Envelope {
  const [namespace, , name] = resource.split('/');
  const route = { source: 'edgecontroller', group: 'resource', operation: 'delete', resource };
  return newEnvelope(route, { metadata: { namespace, name, uid } });
}

/** Takes the next delivery and reports it as sent. */
function send(queue: NodeQueue, nowMs: number): Envelope | undefined {
  const delivery = queue.next(nowMs);
  if (delivery !== undefined) queue.sent(delivery.envelope, nowMs);
  return delivery?.envelope;
}

describe('NodeQueue', () => {
  it('sends the newest of several offers for a path, once', () => {
    const queue = new NodeQueue(options);
    queue.offer(upsert('default/pod/a', '1'));
    const newest = upsert('default/pod/a', '2');
    queue.offer(newest);
    expect(send(queue, 0)).toBe(newest);
    expect(send(queue, 0)).toBeUndefined();
  });

  it('keeps one message of a path on the link', () => {
    const queue = new NodeQueue(options);
    const first = upsert('default/pod/a', '1');
    queue.offer(first);
    send(queue, 0);
    const second = upsert('default/pod/a', '2');
    queue.offer(second);
    expect(send(queue, 0)).toBeUndefined();
    expect(queue.settle(first.header.msg_id)).toBe(true);
    expect(send(queue, 0)).toBe(second);
  });

  it('has the delete acknowledged before it inserts what took the name', () => {
    const queue = new NodeQueue(options);
    const gone = remove('default/pod/a', 'old');
    const successor = upsert('default/pod/a');
    queue.offer(gone);
    queue.offer(successor);
    expect(send(queue, 0)).toBe(gone);
    expect(send(queue, 0)).toBeUndefined();
    queue.settle(gone.header.msg_id);
    expect(send(queue, 0)).toBe(successor);
  });

  it('keeps the first of two deletes: the object between them was never sent', () => {
    const queue = new NodeQueue(options);
    const held = remove('default/pod/a', 'held');
    for (const envelope of [held, upsert('default/pod/a'), remove('default/pod/a', 'between')])
      queue.offer(envelope);
    expect(send(queue, 0)).toBe(held);
    queue.settle(held.header.msg_id);
    expect(queue.size).toBe(0);
  });

  it('comes back to an unacknowledged delete before anything later', () => {
    const queue = new NodeQueue({ ...options, sendsMax: 1 });
    const held = remove('default/pod/a', 'held');
    queue.offer(held);
    send(queue, 0);
    const successor = upsert('default/pod/a');
    for (const envelope of [remove('default/pod/a', 'between'), successor]) queue.offer(envelope);
    expect(send(queue, 5_000)).toBeUndefined();
    expect(send(queue, 10_000)).toBe(held);
    queue.settle(held.header.msg_id);
    expect(send(queue, 10_000)).toBe(successor);
  });

  it('drops an upsert that a delete overtakes', () => {
    const queue = new NodeQueue(options);
    queue.offer(upsert('default/pod/a'));
    const gone = remove('default/pod/a', 'u');
    queue.offer(gone);
    expect(send(queue, 0)).toBe(gone);
    queue.settle(gone.header.msg_id);
    expect(queue.size).toBe(0);
  });

  it('sends the same id again after silence, then lets others go first', () => {
    const queue = new NodeQueue({ ...options, windowMax: 1 });
    const silent = upsert('default/pod/a');
    const other = upsert('default/pod/b');
    queue.offer(silent);
    queue.offer(other);
    const sends = [0, 5_000, 10_000, 15_000, 20_000].map((ms) => send(queue, ms)?.header.msg_id);
    expect(sends).toEqual(Array(5).fill(silent.header.msg_id));
    expect(send(queue, 24_999)).toBeUndefined();
    expect(queue.wakeAtMs()).toBe(25_000);
    expect(send(queue, 25_000)).toBe(other);
    queue.settle(other.header.msg_id);
    expect(send(queue, 29_999)).toBeUndefined();
    expect(queue.wakeAtMs()).toBe(30_000);
    expect(send(queue, 30_000)?.header.msg_id).toBe(silent.header.msg_id);
  });

  it('waits longer each round without an acknowledgement', () => {
    const queue = new NodeQueue({ ...options, sendsMax: 1 });
    queue.offer(upsert('default/pod/a'));
    const sentAtMs: number[] = [];
    for (let ms = 0; ms < 100_000; ms += 1_000) if (send(queue, ms) !== undefined) sentAtMs.push(ms);
    expect(sentAtMs).toEqual([0, 10_000, 25_000, 50_000, 95_000]);
  });

  it('postpones what the edge refused, and tries a newer version at once', () => {
    const queue = new NodeQueue(options);
    const refused = upsert('default/pod/a', '1');
    queue.offer(refused);
    send(queue, 0);
    expect(queue.postpone(refused.header.msg_id, 0)).toBe(true);
    expect(send(queue, 1_000)).toBeUndefined();
    const better = upsert('default/pod/a', '2');
    queue.offer(better);
    expect(send(queue, 1_000)).toBe(better);
  });

  it('reads the body anew in the next round', () => {
    const queue = new NodeQueue({ ...options, sendsMax: 1 });
    queue.offer(upsert('default/pod/a'));
    const delivery = queue.next(0);
    if (delivery === undefined) throw new Error('nothing to send');
    queue.sent({ ...delivery.envelope, content: { body: 1 } }, 0);
    expect(queue.next(5_000)).toBeUndefined();
    expect(queue.next(10_000)?.envelope.content).toBeUndefined();
  });

  it('takes an offer for served when its version has just been sent', () => {
    const queue = new NodeQueue(options);
    const early = upsert('default/pod/a', '1');
    queue.offer(early);
    const delivery = queue.next(0);
    queue.offer(upsert('default/pod/a', '2'));
    if (delivery === undefined) throw new Error('nothing to send');
    queue.sent({ ...early, header: { ...early.header, resourceversion: '2' }, content: {} }, 0);
    queue.settle(early.header.msg_id);
    expect(queue.size).toBe(0);
  });

  it('sends a model before the devices of its namespace, and others meanwhile', () => {
    const queue = new NodeQueue(options);
    const model = upsert('default/devicemodel/m');
    const device = upsert('default/device/d');
    const elsewhere = upsert('other/device/d');
    for (const envelope of [device, elsewhere, model]) queue.offer(envelope);
    expect(send(queue, 0)).toBe(elsewhere);
    expect(send(queue, 0)).toBe(model);
    expect(send(queue, 0)).toBeUndefined();
    queue.settle(model.header.msg_id);
    expect(send(queue, 0)).toBe(device);
  });

  it('lets devices go when a model is never acknowledged', () => {
    const queue = new NodeQueue({ ...options, sendsMax: 1 });
    const device = upsert('default/device/d');
    queue.offer(upsert('default/devicemodel/m'));
    queue.offer(device);
    send(queue, 0);
    expect(send(queue, 5_000)).toBe(device);
  });

  it('refuses paths beyond its limit and malformed ones', () => {
    const queue = new NodeQueue(options);
    for (let n = 0; n < 8; n += 1) expect(queue.offer(upsert(`default/pod/${n}`))).toBe('queued');
    expect(queue.offer(upsert('default/pod/8'))).toBe('full');
    expect(queue.offer(upsert('default/pod/0', '2'))).toBe('queued');
    expect(() => new NodeQueue(options).offer(upsert('nonsense'))).toThrow(/not an object path/);
  });

  it('knows nothing of ids that are not on the link', () => {
    const queue = new NodeQueue(options);
    expect(queue.settle('x')).toBe(false);
    expect(queue.postpone('x', 0)).toBe(false);
  });
});

/** The cloud's objects and what an edge holds after the messages that reached it. */
class World {
  readonly cloud = new Map<string, { uid: string; version: number }>();
  readonly edge = new Map<string, { uid: string; version: number }>();
  readonly queue = new NodeQueue(options);
  nowMs = 0;
  #count = 0;

  change(path: string, kind: 'write' | 'delete'): void {
    const before = this.cloud.get(path);
    this.#count += 1;
    if (kind === 'write') {
      this.cloud.set(path, { uid: before?.uid ?? `uid-${this.#count}`, version: this.#count });
      this.queue.offer(upsert(path, String(this.#count)));
    } else if (before !== undefined) {
      this.cloud.delete(path);
      this.queue.offer(remove(path, before.uid));
    }
  }

  /** One message; `lost` says which way the link fails. */
  step(lost: 'nothing' | 'frame' | 'acknowledgement'): boolean {
    const delivery = this.queue.next(this.nowMs);
    if (delivery === undefined) return false;
    const { envelope, path } = delivery;
    const key = envelope.route.resource;
    const id = envelope.header.msg_id;
    const body = this.cloud.get(key);
    const isDelete = envelope.route.operation === 'delete';
    if (!isDelete && envelope.content === undefined && body === undefined) return this.queue.settle(id);
    const full =
      isDelete || envelope.content !== undefined ? envelope : { ...envelope, content: { ...body } };
    this.queue.sent(full, this.nowMs);
    expect(path.name).toBe(key.split('/')[2]);
    if (lost === 'frame') return true;
    this.#receive(key, isDelete, full.content);
    if (lost === 'nothing') this.queue.settle(id);
    return true;
  }

  #receive(key: string, isDelete: boolean, content: unknown): void {
    const held = this.edge.get(key);
    if (isDelete) {
      const { metadata } = content as { metadata: { uid: string } };
      if (held?.uid === metadata.uid) this.edge.delete(key);
      return;
    }
    const body = content as { uid: string; version: number };
    expect(held === undefined || held.uid === body.uid, `${key}: old uid still held`).toBe(true);
    this.edge.set(key, body);
  }

  settle(): void {
    for (let turns = 0; turns < 10_000 && this.queue.size > 0; turns += 1) {
      if (!this.step('nothing')) this.nowMs = Math.max(this.nowMs, this.queue.wakeAtMs() ?? this.nowMs);
    }
  }
}

describe('NodeQueue, any order of events', () => {
  const path = fc.constantFrom(
    'default/pod/a',
    'default/pod/b',
    'default/device/d',
    'default/devicemodel/m',
    'null/node/n',
    'default/configmap/c',
  );
  const action = fc.oneof(
    fc.record({
      do: fc.constant('change' as const),
      path,
      kind: fc.constantFrom('write' as const, 'delete' as const),
    }),
    fc.record({
      do: fc.constant('step' as const),
      lost: fc.constantFrom('nothing' as const, 'frame' as const, 'acknowledgement' as const),
    }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 40_000 }) }),
  );

  it('ends with the edge holding what the cloud has, within the window all the time', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
        const world = new World();
        for (const next of actions) {
          if (next.do === 'change') world.change(next.path, next.kind);
          else if (next.do === 'step') world.step(next.lost);
          else world.nowMs += next.ms;
          expect(world.queue.unacknowledged).toBeLessThanOrEqual(options.windowMax);
          expect(world.queue.size).toBeLessThanOrEqual(options.pathsMax);
        }
        world.settle();
        expect(world.queue.size).toBe(0);
        expect([...world.edge].sort()).toEqual([...world.cloud].sort());
      }),
      { numRuns: 2_000 },
    );
  });
});
