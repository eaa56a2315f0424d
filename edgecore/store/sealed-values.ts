/**
 * Secrets, service account tokens, devices with their models (which carry the passwords of protocols), and what
 * waits in the outbox are sealed before they reach the database: AES-256-GCM under a key in a file of its own, bound to the row's name,
 * so that a value cannot be moved to another row. Whoever can read both files, or this process, reads them all;
 * what sealing keeps out is who finds the database, a copy or a backup of it, or the disk without /etc.
 */

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import type { Log } from '#beehive/log.ts';
import { StoreError } from './errors.ts';
import type { RowName, ValueCodec } from './value-codec.ts';

const sealedTypes = ['secret', 'serviceaccounttoken', 'device', 'devicemodel'];
const algorithm = 'aes-256-gcm';
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const mark = 'sealed:1:';

export function sealedValues(key: Uint8Array): ValueCodec {
  const types: ReadonlySet<string> = new Set([...sealedTypes, 'outbox']);
  return {
    sealedTypes,
    isSealed: (text) => text.startsWith(mark),
    encode(row, value) {
      const text = JSON.stringify(value);
      return types.has(row.type) ? seal(key, row, text) : text;
    },
    decode: (row, text) => JSON.parse(types.has(row.type) ? unseal(key, row, text) : text),
  };
}

/**
 * The key in `file`, made now if there is none. A file that holds no key is set aside: what was sealed with it is
 * lost, and the cloud sends it again. @throws the system's error when the file cannot be read or made.
 */
export function openSealKey(file: string, { log }: { log: Log }): Uint8Array {
  let text: string | undefined;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  if (text === undefined) return makeKey(file);
  if ((statSync(file).mode & 0o077) !== 0) {
    chmodSync(file, 0o600);
    log.warn({ file }, 'others could read the key of sealed values; its mode is 0600 again');
  }
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length === keyBytes) return key;
  renameSync(file, `${file}.damaged`);
  log.error(
    { aside: `${file}.damaged` },
    'the file of the key of sealed values held no key and was set aside',
  );
  return makeKey(file);
}

function makeKey(file: string): Uint8Array {
  const key = randomBytes(keyBytes);
  mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
  const fresh = `${file}.new`;
  rmSync(fresh, { force: true });
  const handle = openSync(fresh, 'wx', 0o600);
  writeSync(handle, `${key.toString('base64')}\n`);
  fsyncSync(handle);
  closeSync(handle);
  renameSync(fresh, file);
  // Values sealed with a key that a power cut takes away would be lost.
  const directory = openSync(dirname(file), 'r');
  fsyncSync(directory);
  closeSync(directory);
  return key;
}

function seal(key: Uint8Array, row: RowName, text: string): string {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv(algorithm, key, nonce);
  cipher.setAAD(nameOf(row));
  const sealed = [cipher.update(text, 'utf8'), cipher.final()];
  return mark + Buffer.concat([nonce, ...sealed, cipher.getAuthTag()]).toString('base64');
}

/** @throws StoreError `unsealable` */
function unseal(key: Uint8Array, row: RowName, text: string): string {
  const bytes = text.startsWith(mark) ? Buffer.from(text.slice(mark.length), 'base64') : Buffer.alloc(0);
  try {
    const cipher = createDecipheriv(algorithm, key, bytes.subarray(0, nonceBytes), {
      authTagLength: tagBytes,
    });
    cipher.setAAD(nameOf(row));
    cipher.setAuthTag(bytes.subarray(-tagBytes));
    const opened = [cipher.update(bytes.subarray(nonceBytes, -tagBytes)), cipher.final()];
    return Buffer.concat(opened).toString('utf8');
  } catch (error) {
    throw new StoreError(
      `${row.key} is not sealed with the key of this edge`,
      { code: 'unsealable', key: row.key },
      { cause: error },
    );
  }
}

function nameOf({ type, key }: RowName): Buffer {
  return Buffer.from(`${type}\n${key}`);
}
