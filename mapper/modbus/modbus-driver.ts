/**
 * A Modbus TCP device. Of the device's configData: `ip`, `port` (502), `slaveID` (1). Of a property's: `register`
 * (CoilRegister, DiscreteInputRegister, InputRegister, HoldingRegister), `offset`, `limit` (registers, 1), `scale`
 * (1), `isSwap` (bytes of a register), `isRegisterSwap` (order of registers): the words of KubeEdge's Modbus mapper.
 */

import { systemClock } from '#beehive/clock.ts';
import type { Config, Driver, MapperDevice, MapperProperty, Scalar } from '../hawser-mapper.ts';
import { MapperError } from '../sdk/mapper-error.ts';
import { ModbusClient, type Table } from './modbus-client.ts';

const tables: Readonly<Record<string, Table>> = {
  coilregister: 'coil',
  discreteinputregister: 'discrete-input',
  inputregister: 'input',
  holdingregister: 'holding',
};

export class ModbusDriver implements Driver {
  readonly #client: ModbusClient;

  constructor({ config }: MapperDevice) {
    const host = config.ip;
    if (typeof host !== 'string' || host === '') throw refusal('protocol.configData.ip is missing');
    const address = {
      host,
      port: whole(config, 'port', 502, 65_535),
      unit: whole(config, 'slaveID', 1, 255),
    };
    this.#client = new ModbusClient(address, systemClock);
  }

  async read(property: MapperProperty): Promise<Scalar> {
    const { table, offset, limit } = placeOf(property);
    const bytes = await this.#client.read(table, offset, limit);
    if (table === 'coil' || table === 'discrete-input') return ((bytes[0] ?? 0) & 1) === 1;
    return decode(property, arranged(property, bytes));
  }

  async write(property: MapperProperty, value: Scalar): Promise<void> {
    const { table, offset, limit } = placeOf(property);
    if (table === 'coil') await this.#client.writeCoil(offset, value === true || value === 1);
    else if (table === 'holding')
      await this.#client.writeRegisters(offset, arranged(property, encode(property, value, limit)));
    else throw refusal(`${property.name} is in a table that cannot be written`);
  }

  stop(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }
}

function placeOf({ name, config }: MapperProperty): { table: Table; offset: number; limit: number } {
  const table = tables[String(config.register).toLowerCase()];
  if (table === undefined) throw refusal(`${name}: visitors.configData.register is none of Modbus' tables`);
  const bits = table === 'coil' || table === 'discrete-input';
  return {
    table,
    offset: whole(config, 'offset', 0, 65_535),
    limit: bits ? 1 : whole(config, 'limit', 1, 64),
  };
}

/** Its own inverse. */
function arranged({ config }: MapperProperty, bytes: Buffer): Buffer {
  const registers = Array.from({ length: bytes.length / 2 }, (_, at) => bytes.subarray(2 * at, 2 * at + 2));
  const ordered = config.isRegisterSwap === true ? registers.reverse() : registers;
  return Buffer.concat(ordered.map((it) => (config.isSwap === true ? Buffer.from(it).reverse() : it)));
}

function decode(property: MapperProperty, bytes: Buffer): Scalar {
  const { type, config } = property;
  if (type === 'string') return bytes.toString('utf8').replace(/\0+$/, '');
  const number = isReal(type) && bytes.length >= 4 ? readReal(bytes) : readInteger(bytes);
  if (type === 'boolean') return number !== 0;
  const scaled = number * scaleOf(config);
  return type === 'int' ? Math.round(scaled) : Number(scaled.toPrecision(bytes.length === 4 ? 7 : 15));
}

function encode(property: MapperProperty, value: Scalar, limit: number): Buffer {
  const bytes = Buffer.alloc(2 * limit);
  if (property.type === 'string') {
    if (bytes.write(String(value)) < Buffer.byteLength(String(value)))
      throw refusal(`${property.name} has room for ${bytes.length} bytes`);
    return bytes;
  }
  const number = Number(value) / scaleOf(property.config);
  if (isReal(property.type) && limit === 2) bytes.writeFloatBE(number);
  else if (isReal(property.type) && limit === 4) bytes.writeDoubleBE(number);
  else writeInteger(property.name, bytes, Math.round(number));
  return bytes;
}

function isReal(type: string): boolean {
  return type === 'float' || type === 'double';
}

function readReal(bytes: Buffer): number {
  return bytes.length === 4 ? bytes.readFloatBE() : bytes.readDoubleBE();
}

function readInteger(bytes: Buffer): number {
  if (bytes.length === 2) return bytes.readInt16BE();
  if (bytes.length === 4) return bytes.readInt32BE();
  if (bytes.length === 8) return Number(bytes.readBigInt64BE());
  throw refusal(`${bytes.length / 2} registers are no number: limit is 1, 2 or 4`);
}

/** Negative as signed, what only fits unsigned as that. */
function writeInteger(name: string, bytes: Buffer, value: number): void {
  const bits = 8 * bytes.length;
  if (![16, 32, 64].includes(bits)) throw refusal(`${bits / 16} registers are no number: limit is 1, 2 or 4`);
  if (!Number.isSafeInteger(value) || value < -(2 ** (bits - 1)) || value >= 2 ** bits)
    throw refusal(`${value} does not fit the ${bits} bits of ${name}`);
  const wide = Buffer.alloc(8);
  wide.writeBigInt64BE(BigInt.asIntN(64, BigInt(value)));
  wide.copy(bytes, 0, 8 - bytes.length);
}

function scaleOf({ scale }: Config): number {
  return typeof scale === 'number' && scale !== 0 ? scale : 1;
}

function whole(config: Config, name: string, standard: number, max: number): number {
  const value = config[name] === undefined ? standard : Number(config[name]);
  if (!Number.isInteger(value) || value < 0 || value > max)
    throw refusal(`configData.${name} is not from 0 to ${max}`);
  return value;
}

function refusal(reason: string): MapperError {
  return new MapperError(reason, { code: 'refused' });
}
