/**
 * A listener of plain HTTP that is no condition for the rest of a daemon: while its port is taken all else goes on,
 * and it tries again. Whoever reaches it is limited in headers, time and connections; bodies are read up to a limit,
 * and all bodies of one listener together have one too.
 */

import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CancelledError, describeError } from '#protocol/errors.ts';
import { aborted } from './abort.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

export interface HttpListenerLimits {
  readonly connectionsMax: number;
  readonly headerBytesMax: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly checkIntervalMs: number;
}

export interface HttpListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly limits: HttpListenerLimits;
  /** Said when the port is taken: what is missing, and which field to set. */
  readonly complaint: string;
}

const retryMs = 30_000;

/**
 * Serves until the signal is aborted. `tried` is told after the first attempt, and `opened` the port once it is open.
 */
export async function keepListening(
  options: HttpListenerOptions,
  handle: RequestListener,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
  {
    tried,
    opened,
  }: { readonly tried?: (() => void) | undefined; readonly opened?: ((port: number) => void) | undefined },
): Promise<void> {
  const { host, port, limits, complaint } = options;
  for (let said = false; !signal.aborted; said = true) {
    const server = createServer(
      {
        maxHeaderSize: limits.headerBytesMax,
        headersTimeout: limits.headersTimeoutMs,
        requestTimeout: limits.requestTimeoutMs,
        connectionsCheckingInterval: limits.checkIntervalMs,
      },
      handle,
    );
    server.maxConnections = limits.connectionsMax;
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, resolve);
      });
      // Listening on TCP, so the address is no text.
      opened?.((server.address() as AddressInfo).port);
      tried?.();
      await aborted(signal);
    } catch (error) {
      if (!said) log.warn({ host, port, reason: describeError(error) }, complaint);
      tried?.();
      await rest(clock, signal);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  }
}

/** What all bodies that are held at once may have together. */
export class BodyBudget {
  #left: number;

  constructor(bytesMax: number) {
    this.#left = bytesMax;
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

export type Body =
  | { readonly bytes: Buffer /** Gives its place back. */; release(): void }
  | { readonly refused: 'too-large' | 'no-room' | 'ended' };

/** Reads no further than the limit; what the peer goes on sending ends with its connection. */
export function readBody(request: IncomingMessage, bytesMax: number, budget: BodyBudget): Promise<Body> {
  if (Number(request.headers['content-length'] ?? 0) > bytesMax)
    return Promise.resolve({ refused: 'too-large' });
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let open = true;
    const refuse = (refused: 'too-large' | 'no-room' | 'ended') => {
      if (!open) return;
      open = false;
      request.pause();
      budget.give(bytes);
      chunks.length = 0;
      resolve({ refused });
    };
    request.on('data', (chunk: Buffer) => {
      if (!open) return;
      if (bytes + chunk.length > bytesMax) return refuse('too-large');
      if (!budget.take(chunk.length)) return refuse('no-room');
      bytes += chunk.length;
      chunks.push(chunk);
    });
    request.on('end', () => {
      if (!open) return;
      open = false;
      let held = bytes;
      resolve({
        bytes: Buffer.concat(chunks),
        release() {
          budget.give(held);
          held = 0;
        },
      });
    });
    request.on('error', () => refuse('ended'));
    request.on('close', () => refuse('ended'));
  });
}

async function rest(clock: Clock, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(retryMs, signal);
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
  }
}
