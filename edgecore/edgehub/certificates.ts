/**
 * Where EdgeHub's certificate comes from: the files, when they are good for this node, else a token; and one that
 * has expired proves itself for the next, as long as the cloud allows. Goes on trying for ever: quickly while the
 * cloud cannot be reached, slowly once it has refused, since only a person can help then, by a new token in the
 * bootstrap file. Nothing else that the edge keeps depends on it.
 */

import { X509Certificate } from 'node:crypto';
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
import { renew, renewInTime } from './renewal.ts';

export interface CertificatesOptions {
  readonly nodeName: string;
  readonly httpServer: string;
  readonly machine: string;
  readonly files: CredentialFiles;
  /** Used when the bootstrap file has none. */
  readonly token: string;
  readonly bootstrapFile: string;
  readonly requestTimeoutMs: number;
  /** Whether a new one is asked for before this one ends. */
  readonly rotate: boolean;
}

export interface CertificatesComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface Certificates {
  /** Resolves when there is one. @throws CancelledError when the signal is aborted. */
  obtain(signal: AbortSignal): Promise<TlsIdentity>;
  /**
   * Resolves when a newer one has taken the place of `identity` in the files: `obtain` gives that one then.
   * @throws CancelledError when the signal is aborted.
   */
  renewed(identity: TlsIdentity, signal: AbortSignal): Promise<void>;
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
    async renewed(identity, signal) {
      if (!options.rotate) return untilAborted(signal);
      const next = await renewInTime(identity, requestOf(options), { clock, random, log }, signal);
      await saveCredentials(options.files, next);
      log.info({ certificate: options.files.certFile, ...validity(next) }, 'the certificate was renewed');
    },
  };
}

function requestOf({ nodeName, httpServer, machine, requestTimeoutMs }: CertificatesOptions) {
  return { nodeName, httpServer, machine, timeoutMs: requestTimeoutMs };
}

function validity({ cert }: TlsIdentity): { readonly until: string } {
  return { until: new X509Certificate(cert).validTo };
}

/** @throws CancelledError */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(new CancelledError());
    else signal.addEventListener('abort', () => reject(new CancelledError()), { once: true });
  });
}

/** @throws CredentialError, and the system's error when files cannot be read or written. */
async function obtainOnce(
  options: CertificatesOptions,
  { clock, log }: Pick<CertificatesComponents, 'clock' | 'log'>,
  signal: AbortSignal,
): Promise<TlsIdentity> {
  const { files, nodeName, bootstrapFile } = options;
  const found = await readCredentials(files, nodeName, clock.now());
  if ('identity' in found) {
    tellIfClockIsBehind(found.identity, clock.now(), log);
    return found.identity;
  }
  const token = (await readToken(bootstrapFile)) || options.token;
  if (token === '' && 'expired' in found) return await renewExpired(found, options, { clock, log }, signal);
  if (token === '') {
    const why = found.unusable === 'absent' ? 'this edge has none' : found.unusable;
    throw new CredentialError(`${why}, and there is no token to ask for one; ${wayOut(options)}`, {
      code: 'no-token',
    });
  }
  const identity = await bootstrap({ ...requestOf(options), token }, { clock }, signal);
  await saveCredentials(files, identity);
  await rm(bootstrapFile, { force: true });
  log.info({ node: nodeName, certificate: files.certFile }, 'the cloud signed a certificate for this edge');
  return identity;
}

/** @throws CredentialError */
async function renewExpired(
  { expired, unusable }: { readonly expired: TlsIdentity; readonly unusable: string },
  options: CertificatesOptions,
  { clock, log }: Pick<CertificatesComponents, 'clock' | 'log'>,
  signal: AbortSignal,
): Promise<TlsIdentity> {
  try {
    const identity = await renew(expired, requestOf(options), clock, signal);
    await saveCredentials(options.files, identity);
    log.info(validity(identity), 'the certificate had expired; the cloud renewed it');
    return identity;
  } catch (error) {
    if (!(error instanceof CredentialError) || error.detail.code !== 'refused') throw error;
    throw new CredentialError(
      `${unusable}, and ${error.message}; ${wayOut(options)}. Pods and data stay as they are`,
      error.detail,
      { cause: error, retry: error.retry },
    );
  }
}

/** The certificate's first moment is the one time that this machine knows to be past, over any power cut. */
function tellIfClockIsBehind({ cert }: TlsIdentity, nowMs: number, log: Log): void {
  const { validFrom } = new X509Certificate(cert);
  if (Date.parse(validFrom) <= nowMs) return;
  log.warn(
    { clock: new Date(nowMs).toISOString(), certificateFrom: validFrom },
    'this machine’s clock is behind: the certificate was made later than now. Until the clock is set (timedatectl set-ntp true, or date -s) the cloud’s certificate may look as if it were not valid yet; pods run meanwhile',
  );
}

function wayOut({ bootstrapFile }: CertificatesOptions): string {
  return `write what \`keadm gettoken\` prints on the cloud to ${bootstrapFile}, or join again`;
}

async function readToken(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
