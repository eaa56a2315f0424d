/**
 * Where EdgeHub's certificate comes from: the files, when they are good for this node, else the token. Goes on
 * trying for ever: quickly while the cloud cannot be reached, slowly once it has refused, since only a person
 * can help then, by a new token in the bootstrap file.
 */

import { readFile, rm } from 'node:fs/promises';
import { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import { CancelledError, describeError, HawserError } from '#protocol/errors.ts';
import { source } from '#protocol/names.ts';
import type { TlsIdentity } from '#protocol/transport/transport.ts';
import { bootstrap } from './bootstrap.ts';
import { Complaint } from './complaint.ts';
import { type CredentialFiles, readCredentials, saveCredentials } from './credentials.ts';
import { CredentialError } from './errors.ts';

export interface CertificatesOptions {
  readonly nodeName: string;
  readonly httpServer: string;
  readonly machine: string;
  readonly files: CredentialFiles;
  /** Used when the bootstrap file has none. */
  readonly token: string;
  readonly bootstrapFile: string;
  readonly requestTimeoutMs: number;
}

export interface CertificatesComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface Certificates {
  /** Resolves when there is one. @throws CancelledError when the signal is aborted. */
  obtain(signal: AbortSignal): Promise<TlsIdentity>;
}

const unreachable = { firstMs: 1_000, maxMs: 30_000, jitter: 0.5 };
const refusedPauseMs = 60_000;

export function createCertificates(
  options: CertificatesOptions,
  components: CertificatesComponents,
): Certificates {
  const { clock, random } = components;
  const log = components.log.child({ module: source.edgeHub });
  return {
    async obtain(signal) {
      const backoff = new Backoff(unreachable, random);
      const complaint = new Complaint(log);
      for (;;) {
        try {
          return await obtainOnce(options, { ...components, log }, signal);
        } catch (error) {
          if (error instanceof CancelledError) throw error;
          const kind = error instanceof HawserError ? error.code : 'files';
          complaint.say(kind, { code: kind }, `no certificate yet: ${describeError(error)}`);
          const soon = error instanceof CredentialError && error.retry === 'backoff';
          await clock.sleep(soon ? backoff.nextMs() : refusedPauseMs, signal);
        }
      }
    },
  };
}

/** @throws CredentialError, and the system's error when files cannot be read or written. */
async function obtainOnce(
  options: CertificatesOptions,
  { clock, log }: CertificatesComponents,
  signal: AbortSignal,
): Promise<TlsIdentity> {
  const { files, nodeName, bootstrapFile } = options;
  const found = await readCredentials(files, nodeName, clock.now());
  if ('identity' in found) return found.identity;
  const token = (await readToken(bootstrapFile)) || options.token;
  if (token === '') {
    const why = found.unusable === 'absent' ? 'this edge has none' : found.unusable;
    throw new CredentialError(
      `${why}, and there is no token to ask for one; write what \`keadm gettoken\` prints on the cloud to ${bootstrapFile}, or join again`,
      { code: 'no-token' },
    );
  }
  const { httpServer, machine, requestTimeoutMs: timeoutMs } = options;
  const identity = await bootstrap({ nodeName, token, httpServer, machine, timeoutMs }, { clock }, signal);
  await saveCredentials(files, identity);
  await rm(bootstrapFile, { force: true });
  log.info({ node: nodeName, certificate: files.certFile }, 'the cloud signed a certificate for this edge');
  return identity;
}

async function readToken(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
