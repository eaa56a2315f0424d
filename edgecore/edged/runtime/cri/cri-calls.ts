/**
 * Calls of a container runtime with their deadlines, and its refusals in the words of the contract. What is gone
 * already is no failure for who wanted it gone.
 */

import { RuntimeError } from '../runtime-service.ts';
import { type CriCall, type CriClient, CriError, type CriMethod } from './cri-client.ts';

type Answer = Parameters<CriClient['call']>[2];

/** containerd, of a container that another call is starting; CRI-O makes the second call wait. */
const startUnderWay = /container is (?:already )?in starting state/;

const readMs = 30_000;
const changeMs = 120_000;

export class CriCalls {
  readonly #client: CriClient;

  constructor(client: CriClient) {
    this.#client = client;
  }

  read<S extends Answer>(method: CriMethod, request: object, answer: S, id?: string) {
    return this.call(method, request, answer, { timeoutMs: readMs }, id);
  }

  /** `longerMs`: what the runtime is asked to wait for. */
  change<S extends Answer>(method: CriMethod, request: object, answer: S, id?: string, longerMs = 0) {
    return this.call(method, request, answer, { timeoutMs: changeMs + longerMs }, id);
  }

  /** @throws RuntimeError, CancelledError */
  async call<S extends Answer>(method: CriMethod, request: object, answer: S, options: CriCall, id = '') {
    try {
      return await this.#client.call(method, request, answer, options);
    } catch (error) {
      throw error instanceof CriError ? translated(error, id, options.timeoutMs) : error;
    }
  }
}

export async function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'not-found') return undefined;
    throw error;
  }
}

export function notFound(id: string, what: string): RuntimeError {
  return new RuntimeError(`there is no ${what} ${id}`, { code: 'not-found', id });
}

function translated(error: CriError, id: string, timeoutMs: number): RuntimeError {
  const { message } = error;
  const { method } = error.detail;
  const because = { cause: error.cause };
  switch (error.status) {
    case 'NOT_FOUND':
      return new RuntimeError(message, { code: 'not-found', id }, because);
    case 'DEADLINE_EXCEEDED':
      return new RuntimeError(message, { code: 'timeout', afterMs: timeoutMs }, { retry: 'backoff' });
    case 'UNAVAILABLE':
      return new RuntimeError(
        `the container runtime does not answer: ${message}; see that it runs and that edgecore may open its socket`,
        { code: 'unavailable', what: method },
        { retry: 'backoff' },
      );
    case 'UNIMPLEMENTED':
      return new RuntimeError(message, { code: 'unsupported', what: method }, because);
    default:
      if (startUnderWay.test(message)) return new RuntimeError(message, { code: 'starting', id }, because);
      return new RuntimeError(message, { code: 'refused', what: method }, because);
  }
}
