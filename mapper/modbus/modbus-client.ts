/**
 * Modbus TCP as a client, as much as registers and coils need: one request at a time on one connection, opened when
 * it is needed and given up at the first sign of disorder.
 */

import { connect, type Socket } from 'node:net';
import type { Clock } from '#beehive/clock.ts';
import { CancelledError, HawserError } from '#protocol/errors.ts';

export type Table = 'coil' | 'discrete-input' | 'input' | 'holding';

/** The device refused (with Modbus' own number), or did not answer as it should. */
export class ModbusError extends HawserError<
  { code: 'exception'; number: number } | { code: 'timeout' } | { code: 'malformed' } | { code: 'closed' }
> {}

const readFunctions: Readonly<Record<Table, number>> = { coil: 1, 'discrete-input': 2, holding: 3, input: 4 };
const writeCoil = 5;
const writeRegisters = 16;
const timeoutMs = 3_000;
const headerBytes = 7;
/** Of one answer (Modbus TCP, 4.1). */
const frameBytesMax = 260;

const exceptions: Readonly<Record<number, string>> = {
  1: 'illegal function',
  2: 'illegal address',
  3: 'illegal value',
  4: 'device failure',
  6: 'device busy',
  11: 'device does not answer its gateway',
};

export interface ModbusAddress {
  readonly host: string;
  readonly port: number;
  readonly unit: number;
}

export class ModbusClient {
  readonly #address: ModbusAddress;
  readonly #clock: Clock;
  #socket: Socket | undefined;
  #transaction = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(address: ModbusAddress, clock: Clock) {
    this.#address = address;
    this.#clock = clock;
  }

  /** Registers as their bytes, coils as one bit each, least significant first. @throws ModbusError */
  async read(table: Table, offset: number, count: number): Promise<Buffer> {
    const isBits = table === 'coil' || table === 'discrete-input';
    const answer = await this.#request(readFunctions[table], words(offset, count));
    const bytes = answer.subarray(1);
    const wanted = isBits ? Math.ceil(count / 8) : 2 * count;
    if (answer[0] !== wanted || bytes.length !== wanted) throw malformed('an answer of another length');
    return bytes;
  }

  /** @throws ModbusError */
  async writeCoil(offset: number, on: boolean): Promise<void> {
    await this.#request(writeCoil, words(offset, on ? 0xff00 : 0));
  }

  /** @throws ModbusError */
  async writeRegisters(offset: number, bytes: Buffer): Promise<void> {
    const head = words(offset, bytes.length / 2);
    await this.#request(writeRegisters, Buffer.concat([head, Buffer.from([bytes.length]), bytes]));
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #request(code: number, body: Buffer): Promise<Buffer> {
    const done = this.#turn.then(() => this.#exchange(code, body));
    this.#turn = done.catch(() => {});
    return done;
  }

  async #exchange(code: number, body: Buffer): Promise<Buffer> {
    const inTime = new AbortController();
    const late = this.#clock.sleep(timeoutMs, inTime.signal).then(() => {
      throw new ModbusError(`no answer within ${timeoutMs} ms`, { code: 'timeout' });
    });
    late.catch(() => {});
    try {
      return await Promise.race([this.#roundTrip(code, body), late]);
    } catch (error) {
      // What comes late on this connection would be taken for the next answer.
      if (!(error instanceof ModbusError && error.code === 'exception')) this.close();
      throw error instanceof CancelledError ? new ModbusError('given up', { code: 'closed' }) : error;
    } finally {
      inTime.abort();
    }
  }

  async #roundTrip(code: number, body: Buffer): Promise<Buffer> {
    const socket = await this.#open();
    this.#transaction = (this.#transaction + 1) & 0xffff;
    const header = Buffer.alloc(headerBytes);
    header.writeUInt16BE(this.#transaction, 0);
    header.writeUInt16BE(body.length + 2, 4);
    header.writeUInt8(this.#address.unit, 6);
    const answered = frameOf(socket);
    socket.write(Buffer.concat([header, Buffer.from([code]), body]));
    const frame = await answered;
    if (frame.readUInt16BE(0) !== this.#transaction || frame.readUInt16BE(2) !== 0)
      throw malformed('an answer to another request');
    const got = frame.readUInt8(headerBytes);
    const rest = frame.subarray(headerBytes + 1);
    if (got === (code | 0x80)) {
      const number = rest[0] ?? 0;
      throw new ModbusError(`the device refused: ${exceptions[number] ?? `exception ${number}`}`, {
        code: 'exception',
        number,
      });
    }
    if (got !== code) throw malformed('an answer of another function');
    return rest;
  }

  #open(): Promise<Socket> {
    if (this.#socket !== undefined && !this.#socket.destroyed) return Promise.resolve(this.#socket);
    const { host, port } = this.#address;
    const socket = connect({ host, port, noDelay: true });
    this.#socket = socket;
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.removeListener('error', reject);
        socket.on('error', () => socket.destroy());
        resolve(socket);
      });
    });
  }
}

/** The next whole frame. */
function frameOf(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0);
    const end = () => {
      socket.removeListener('data', take);
      socket.removeListener('close', closed);
    };
    const take = (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      const total = got.length < headerBytes ? undefined : 6 + got.readUInt16BE(4);
      if (
        got.length > frameBytesMax ||
        (total !== undefined && (total > frameBytesMax || total < headerBytes + 1))
      ) {
        end();
        reject(malformed('an answer of no possible length'));
      } else if (total !== undefined && got.length >= total) {
        end();
        resolve(got.subarray(0, total));
      }
    };
    const closed = () => {
      end();
      reject(new ModbusError('the device closed the connection', { code: 'closed' }));
    };
    socket.on('data', take);
    socket.on('close', closed);
  });
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [at, value] of values.entries()) bytes.writeUInt16BE(value, 2 * at);
  return bytes;
}

function malformed(what: string): ModbusError {
  return new ModbusError(`${what} came from the device`, { code: 'malformed' });
}
