import { generateKeyPairSync } from 'node:crypto';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { type Log, silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { CancelledError } from '#protocol/errors.ts';
import { createTestAuthority } from '#test/certificates.ts';
import { createCertificates } from './certificates.ts';
import { type CredentialFiles, readCredentials, saveCredentials } from './credentials.ts';
import { renewalTimeMs, renewInTime } from './renewal.ts';

const authority = await createTestAuthority();
const identity = await authority.issue('CN=system:node:edge-1,O=system:nodes');
const dayMs = 86_400_000;
/** Two days long, half of it gone. */
const startMs = Math.floor((Date.now() - dayMs) / 1000) * 1000;
let dir: string;
let files: CredentialFiles;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hawser-renewal-'));
  files = { caFile: join(dir, 'ca.crt'), certFile: join(dir, 'edge.crt'), keyFile: join(dir, 'edge.key') };
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('the moment lies between 70 and 90 % of the life, and is another one each time', () => {
  const random = seededRandom(2);
  const shares = Array.from(
    { length: 200 },
    () => (renewalTimeMs(identity.cert, random) - startMs) / (2 * dayMs),
  );
  expect(Math.min(...shares)).toBeGreaterThan(0.69);
  expect(Math.min(...shares)).toBeLessThan(0.72);
  expect(Math.max(...shares)).toBeLessThan(0.91);
  expect(Math.max(...shares)).toBeGreaterThan(0.88);
});

test('nobody answers: 2 s, doubling to 32 s, then every 32 s, and one line in the log', async () => {
  const clock = new ManualClock(startMs + 1.95 * dayMs);
  const said: string[] = [];
  const log: Log = {
    ...silentLog,
    warn: (_fields: object, text: string) => said.push(text),
    child: () => log,
  };
  const pauses: number[] = [];
  const counting = {
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs(),
    after: (ms: number, call: () => void) => clock.after(ms, call),
    // The deadline of each request is slept for too: it is the one that is given up.
    sleep: (ms: number, signal?: AbortSignal) => {
      if (ms === 5_000) return clock.sleep(ms, signal);
      pauses.push(ms);
      if (pauses.length === 8) throw new CancelledError();
      return Promise.resolve();
    },
  };
  const options = { nodeName: 'edge-1', machine: 'm', httpServer: 'https://127.0.0.1:1', timeoutMs: 5_000 };
  const random = { next: () => 0 };
  const renewing = renewInTime(
    identity,
    options,
    { clock: counting, random, log },
    new AbortController().signal,
  );
  await expect(renewing).rejects.toThrow(CancelledError);
  expect(pauses).toEqual([60_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000, 32_000]);
  expect(said).toEqual([expect.stringContaining('the certificate is not renewed yet: cannot reach')]);
});

test('a power cut between any two of the writes leaves a pair that is whole', async () => {
  const next = await authority.issue('CN=system:node:edge-1,O=system:nodes');
  const read = () => readCredentials(files, 'edge-1', Date.now());
  await saveCredentials(files, identity);
  // After the first: the new key waits.
  writeFileSync(`${files.keyFile}.next`, next.key, { mode: 0o600 });
  expect(await read()).toEqual({ identity });
  // After the second: the certificate is the new one, its key still waits.
  writeFileSync(files.certFile, next.cert);
  expect(await read()).toEqual({ identity: next });
  expect(readFileSync(files.keyFile, 'utf8')).toBe(next.key);
  expect(statSync(files.keyFile).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir).sort()).toEqual(['ca.crt', 'edge.crt', 'edge.key']);
  // At a first join there is no old key at all.
  renameSync(files.keyFile, `${files.keyFile}.next`);
  expect(await read()).toEqual({ identity: next });
});

test('a key that others could read is replaced by one that they cannot', async () => {
  await saveCredentials(files, identity);
  chmodSync(files.keyFile, 0o644);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
  await saveCredentials(files, { ...identity, key });
  expect(statSync(files.keyFile).mode & 0o777).toBe(0o600);
});

test('with rotateCertificates off none is asked for; a clock that is behind is said, and the certificate used', async () => {
  await saveCredentials(files, identity);
  const said: string[] = [];
  const log: Log = {
    ...silentLog,
    warn: (_fields: object, text: string) => said.push(text),
    child: () => log,
  };
  const clock = new ManualClock(Date.UTC(1970, 0, 1));
  const options = {
    nodeName: 'edge-1',
    machine: 'm',
    httpServer: 'https://127.0.0.1:1',
    files,
    token: '',
    bootstrapFile: join(dir, 'bootstrap.conf'),
    requestTimeoutMs: 5_000,
    rotate: false,
  };
  const certificates = createCertificates(options, { clock, random: seededRandom(1), log });
  const stop = new AbortController();
  expect(await certificates.obtain(stop.signal)).toEqual(identity);
  expect(said).toEqual([expect.stringContaining('clock is behind')]);
  const renewed = certificates.renewed(identity, stop.signal);
  expect(clock.sleepers).toBe(0);
  stop.abort();
  await expect(renewed).rejects.toThrow(CancelledError);
});
