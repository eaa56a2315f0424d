/**
 * One GET over a TLS connection of its own, with a body where asked (wire 1.2: `GET /edge.crt` has one, which
 * fetch refuses). Time and size are limited; every way to fail is a CredentialError that names the next step.
 */

import { request as httpsRequest, type RequestOptions } from 'node:https';
import type { Clock } from '#beehive/clock.ts';
import { CancelledError, HawserError } from '#protocol/errors.ts';
import { CredentialError } from './errors.ts';

export interface HttpsGet {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Whom to trust, and who we are; ca-download.ts alone trusts nobody and checks by hash. */
  readonly trust: Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized'>;
  readonly bytesMax: number;
  readonly timeoutMs: number;
}

export interface HttpsAnswer {
  readonly status: number;
  readonly body: Uint8Array;
  /** The peer's clock, by its header Date. */
  readonly dateMs: number | undefined;
}

/** @throws CredentialError `unreachable`, `untrusted`, `bad-answer`; CancelledError when the signal is aborted. */
export async function httpsGet(get: HttpsGet, clock: Clock, signal: AbortSignal): Promise<HttpsAnswer> {
  const url = get.url.href;
  const done = new AbortController();
  const late = new AbortController();
  const deadline = clock.sleep(get.timeoutMs, done.signal).then(
    () => late.abort(),
    () => {},
  );
  try {
    return await exchange(get, AbortSignal.any([signal, late.signal]));
  } catch (error) {
    if (signal.aborted) throw new CancelledError(error);
    if (error instanceof HawserError) throw error;
    throw failure(url, late.signal.aborted ? `no answer within ${get.timeoutMs} ms` : error);
  } finally {
    done.abort();
    await deadline;
  }
}

function exchange(get: HttpsGet, signal: AbortSignal): Promise<HttpsAnswer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      get.url,
      {
        ...get.trust,
        method: 'GET',
        // No pool: a connection that was not verified is never used for anything else.
        agent: false,
        minVersion: 'TLSv1.2',
        headers: {
          ...get.headers,
          ...(get.body === undefined ? {} : { 'Content-Length': String(get.body.byteLength) }),
        },
        signal,
      },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('error', reject);
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          chunks.push(chunk);
          if (bytes > get.bytesMax) response.destroy(tooLarge(get));
        });
        response.on('end', () => {
          const date = Date.parse(response.headers.date ?? '');
          const dateMs = Number.isNaN(date) ? undefined : date;
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks), dateMs });
        });
      },
    );
    request.on('error', reject);
    request.end(get.body);
  });
}

function tooLarge({ url, bytesMax }: HttpsGet): CredentialError {
  const reason = `the answer has more than ${bytesMax} bytes`;
  return new CredentialError(`${url.href}: ${reason}; is that cloudcore?`, {
    code: 'bad-answer',
    url: url.href,
    reason,
  });
}

const tlsCode = /CERT|SELF_SIGNED|UNABLE_TO|HOSTNAME/;

function failure(url: string, reason: unknown): CredentialError {
  const code = reason instanceof Error && 'code' in reason ? String(reason.code) : '';
  const text = reason instanceof Error ? reason.message || code : String(reason);
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return new CredentialError(
      `${url}: the certificate of the cloud does not name this address; run keadm init there with this address in --advertise-address (${text})`,
      { code: 'untrusted', url },
      { cause: reason },
    );
  }
  if (tlsCode.test(code)) {
    return new CredentialError(
      `${url}: the server there is not the one that the token belongs to (${text}); check --cloudcore-ipport and --certport, and this machine's clock`,
      { code: 'untrusted', url },
      { cause: reason },
    );
  }
  return new CredentialError(
    `cannot reach ${url} (${text}); check that cloudcore runs there and that the port is open from here`,
    { code: 'unreachable', url },
    { retry: 'backoff', cause: reason },
  );
}
