/**
 * A certificate's second life (wire 2.5): at a random point of 70 to 90 % of it a new key is signed by proof of
 * the old one, without any token, and again after its end for as long as the cloud allows.
 */

import { X509Certificate } from 'node:crypto';
import { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import { describeError } from '#protocol/errors.ts';
import type { TlsIdentity } from '#protocol/transport/transport.ts';
import { Complaint } from './complaint.ts';
import { CredentialError } from './errors.ts';
import { reasonOf, requestCertificate, type Signing } from './signing.ts';

export type RenewalOptions = Omit<Signing, 'ca' | 'proof'>;

export interface RenewalComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Wire 2.5: five steps that double, then every 32 s. The jitter keeps a fleet of one age out of step. */
const retry = { firstMs: 2_000, maxMs: 32_000, jitter: 0.2 };
/** The wall clock may be set while we sleep, and no timer lasts a year. */
const lookEveryMs = 600_000;
/** Before the first try, so that certificates which are short-lived from the start are not renewed in a circle. */
const restMs = 60_000;

/** A random moment of 70 to 90 % of the certificate's life. */
export function renewalTimeMs(certificate: string, random: Random): number {
  const { validFrom, validTo } = new X509Certificate(certificate);
  const startMs = Date.parse(validFrom);
  return startMs + (Date.parse(validTo) - startMs) * (0.7 + 0.2 * random.next());
}

/** Resolves with the new identity, however long that takes. @throws CancelledError when the signal is aborted. */
export async function renewInTime(
  identity: TlsIdentity,
  options: RenewalOptions,
  { clock, random, log }: RenewalComponents,
  signal: AbortSignal,
): Promise<TlsIdentity> {
  const dueMs = renewalTimeMs(identity.cert, random);
  await clock.sleep(restMs, signal);
  for (let leftMs = dueMs - clock.now(); leftMs > 0; leftMs = dueMs - clock.now()) {
    await clock.sleep(Math.min(leftMs, lookEveryMs), signal);
  }
  const backoff = new Backoff(retry, random);
  const complaint = new Complaint(log);
  for (;;) {
    try {
      return await renew(identity, options, clock, signal);
    } catch (error) {
      if (!(error instanceof CredentialError)) throw error;
      const { validTo } = new X509Certificate(identity.cert);
      const fields = { code: error.code, expires: validTo };
      complaint.say(error.code, fields, `the certificate is not renewed yet: ${describeError(error)}`);
      await clock.sleep(backoff.nextMs(), signal);
    }
  }
}

/** One try. @throws CredentialError; CancelledError when the signal is aborted. */
export async function renew(
  { ca, cert, key }: TlsIdentity,
  options: RenewalOptions,
  clock: Clock,
  signal: AbortSignal,
): Promise<TlsIdentity> {
  const signed = await requestCertificate({ ...options, ca, proof: { cert, key } }, clock, signal);
  if ('identity' in signed) return signed.identity;
  const { status } = signed.refusal;
  const body = reasonOf(signed.refusal);
  throw new CredentialError(
    `${new URL(options.httpServer).host} refused to renew the certificate (${status}): ${body}`,
    { code: 'refused', status, body },
    { retry: status >= 500 ? 'backoff' : 'never' },
  );
}
