import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import { openPki } from './pki.ts';

let directory: string;
const clock = new ManualClock();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pki-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

test('is made once and adopted later', async () => {
  const first = await openPki(directory, ['127.0.0.1', 'localhost'], clock);
  expect(await openPki(directory, ['127.0.0.1', 'localhost'], clock)).toEqual(first);
  for (const name of ['ca.key', 'admin.key', 'sa.key']) {
    expect(statSync(join(directory, name)).mode & 0o077).toBe(0);
  }
});

test('certificates say who and what for', async () => {
  const pki = await openPki(directory, ['127.0.0.1', '::1', 'cloud.example'], clock);
  const ca = new X509Certificate(pki.caCertificate);
  expect(ca.ca).toBe(true);
  const serving = new X509Certificate(pki.serving.certificate);
  expect(serving.checkIP('::1')).toBe('::1');
  expect(serving.checkHost('cloud.example')).toBe('cloud.example');
  expect(serving.verify(ca.publicKey)).toBe(true);
  expect(new X509Certificate(pki.admin.certificate).subject).toBe('O=system:masters\nCN=kubernetes-admin');
  const cloudcore = new X509Certificate(pki.cloudcore.certificate);
  expect(cloudcore.subject).toBe('CN=system:cloudcore');
  expect(cloudcore.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
});

test('a new address and a coming end make a new serving certificate, never a new CA', async () => {
  const first = await openPki(directory, ['127.0.0.1'], clock);
  const second = await openPki(directory, ['127.0.0.1', '10.0.0.7'], clock);
  expect(second.caCertificate).toBe(first.caCertificate);
  expect(second.admin).toEqual(first.admin);
  expect(second.serving).not.toEqual(first.serving);
  const later = new ManualClock(clock.now() + 300 * 24 * 3_600_000);
  const third = await openPki(directory, ['127.0.0.1', '10.0.0.7'], later);
  expect(third.serving).not.toEqual(second.serving);
  expect(third.tokenKey).toBe(first.tokenKey);
});

test('half a CA is an error that says what to do', async () => {
  await openPki(directory, [], clock);
  rmSync(join(directory, 'ca.key'));
  await expect(openPki(directory, [], clock)).rejects.toThrow(UnrecoverableError);
});
