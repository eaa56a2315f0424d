/**
 * A small HTTP server of a daemon that answers GET and reads no body, on loopback unless configured otherwise. It is
 * no part of the work: while its port is taken all else goes on, and it tries again.
 */

import type { RequestListener, ServerResponse } from 'node:http';
import { describeError } from '#protocol/errors.ts';
import type { monitorLimits } from '#protocol/limits.ts';
import type { Clock } from './clock.ts';
import { keepListening } from './http-listener.ts';
import type { Log } from './log.ts';
import type { Module } from './module.ts';

export type ReadOnlyServerLimits = Readonly<Record<keyof typeof monitorLimits, number>>;

export interface ReadOnlyServerOptions {
  /** Of the module. */
  readonly name: string;
  /** `ADDRESS:PORT` */
  readonly bindAddress: string;
  /** The field of the config that says so, and what is missing without it, for the message when the port is taken. */
  readonly field: string;
  readonly serves: string;
  readonly limits: ReadOnlyServerLimits;
}

export interface Page {
  readonly status: number;
  readonly text: string;
  /** Plain text unless said otherwise. */
  readonly contentType?: string;
}

/** Undefined: there is no such page. */
export type Pages = (path: string) => Page | undefined | Promise<Page | undefined>;

const plainText = 'text/plain; version=0.0.4; charset=utf-8';

export function createReadOnlyServer(
  options: ReadOnlyServerOptions,
  components: { readonly clock: Clock; readonly log: Log },
  pages: Pages,
): Module {
  const log = components.log.child({ module: options.name });
  return {
    name: options.name,
    async run(signal, ready) {
      const { bindAddress, field, serves, limits } = options;
      const at = bindAddress.lastIndexOf(':');
      const host = bindAddress.slice(0, at).replace(/^\[(.*)\]$/, '$1');
      const port = Number(bindAddress.slice(at + 1));
      const listener = {
        host,
        port,
        limits: { ...limits, headersTimeoutMs: limits.requestTimeoutMs },
        complaint: `no ${serves}: cannot listen; set ${field} to a free port`,
      };
      const { clock } = components;
      await keepListening(listener, handler(pages), { clock, log }, signal, { tried: ready });
    },
  };
}

function handler(pages: Pages): RequestListener {
  return (request, response) => {
    if (request.method !== 'GET') return answer(response, { status: 405, text: 'only GET is served here' });
    void find(pages, request.url ?? '').then(
      (page) => answer(response, page ?? { status: 404, text: 'no such path' }),
      (error: unknown) => answer(response, { status: 500, text: describeError(error) }),
    );
  };
}

/** So that what a page throws at once is a refusal too. */
async function find(pages: Pages, path: string): Promise<Page | undefined> {
  return pages(path);
}

function answer(response: ServerResponse, { status, text, contentType }: Page): void {
  // Whatever body still comes is not read to its end.
  response.writeHead(status, { 'Content-Type': contentType ?? plainText, Connection: 'close' });
  response.end(text.endsWith('\n') ? text : `${text}\n`);
}
