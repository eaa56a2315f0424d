import { EventEmitter } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { Strangers, type TurnedAway } from './strangers.ts';

const limits = {
  handshakesMax: 5,
  handshakesPerAddressMax: 3,
  failuresBurst: 4,
  failuresPerSecond: 2,
  addressesMax: 5,
};

/** A server that is told of connections by the test. */
class Door {
  nowMs = 0;
  readonly turnedAway: TurnedAway[] = [];
  readonly strangers = new Strangers(limits, {
    clock: { monotonicMs: () => this.nowMs },
    turnedAway: (why) => this.turnedAway.push(why),
  });
  readonly #server = createServer();
  #ports = 0;

  constructor() {
    this.strangers.watch(this.#server);
  }

  async connect(remoteAddress: string): Promise<FakeSocket> {
    this.#ports += 1;
    const socket = new FakeSocket(remoteAddress, this.#ports);
    // It has all that is used of a socket.
    this.#server.emit('connection', socket as unknown as Socket);
    await new Promise((resolve) => setImmediate(resolve));
    return socket;
  }
}

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string;
  readonly remotePort: number;
  destroyed = false;

  constructor(remoteAddress: string, remotePort: number) {
    super();
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit('close');
  }
}

test('an address that keeps failing is closed unheard, and heard again after a while', async () => {
  const door = new Door();
  for (let time = 0; time < 4; time += 1) (await door.connect('10.0.0.1')).destroy();
  expect((await door.connect('10.0.0.1')).destroyed).toBe(true);
  expect(door.turnedAway).toEqual(['fails-too-often']);
  expect((await door.connect('10.0.0.2')).destroyed).toBe(false);
  door.nowMs += 500;
  expect((await door.connect('10.0.0.1')).destroyed).toBe(false);
});

test('who succeeds costs its address nothing', async () => {
  const door = new Door();
  for (let time = 0; time < 100; time += 1) {
    const socket = await door.connect('10.0.0.1');
    expect(socket.destroyed).toBe(false);
    door.strangers.know(socket);
    socket.destroy();
  }
  expect(door.strangers.addresses).toBe(0);
  expect(door.strangers.waiting).toBe(0);
});

test('the oldest unfinished handshake makes room for a new one', async () => {
  const door = new Door();
  const slow = [];
  for (let time = 0; time < 5; time += 1) slow.push(await door.connect(`10.0.1.${time}`));
  const known = slow[1] ?? expect.fail();
  door.strangers.know(known);
  const later = [await door.connect('10.0.0.1'), await door.connect('10.0.0.2')];
  expect([...slow, ...later].filter(({ destroyed }) => destroyed)).toEqual([slow[0]]);
  expect(door.turnedAway).toEqual(['handshakes-full']);
  expect(door.strangers.waiting).toBe(5);
});

test('an address that holds its places loses its own oldest, and never another’s', async () => {
  const door = new Door();
  const honest = await door.connect('10.0.0.1');
  const greedy = [];
  for (let time = 0; time < 100; time += 1) greedy.push(await door.connect('10.0.9.9'));
  expect(honest.destroyed).toBe(false);
  expect(greedy.filter(({ destroyed }) => !destroyed)).toEqual(greedy.slice(-3));
  expect(new Set(door.turnedAway)).toEqual(new Set(['address-full']));
  expect(door.strangers.waiting).toBe(4);
  for (const socket of greedy) socket.destroy();
  expect(door.strangers.waiting).toBe(1);
});

test('a fleet behind one address comes in, however many have to make room at first', async () => {
  const door = new Door();
  let outside = 200;
  for (let round = 0; outside > 0 && round < 100; round += 1) {
    const arriving = [];
    for (let at = 0; at < outside; at += 1) arriving.push(await door.connect('10.0.0.1'));
    const left = arriving.filter(({ destroyed }) => !destroyed);
    for (const socket of left) door.strangers.know(socket);
    outside -= left.length;
  }
  expect([outside, door.strangers.waiting, door.strangers.addresses]).toEqual([0, 0, 0]);
  expect(door.turnedAway).not.toContain('fails-too-often');
});

test('a host of IPv6 is its network; as many addresses are remembered as may be', async () => {
  const door = new Door();
  for (const address of ['2001:db8::1', '2001:db8::2', '2001:db8:0:0:9::1', '2001:db8:0:0:1:2:3:4'])
    (await door.connect(address)).destroy();
  expect((await door.connect('2001:db8::ffff')).destroyed).toBe(true);
  expect((await door.connect('2001:db8:0:1::1')).destroyed).toBe(false);
  for (let at = 0; at < 50; at += 1) (await door.connect(`10.0.2.${at}`)).destroy();
  expect(door.strangers.addresses).toBe(5);
});
