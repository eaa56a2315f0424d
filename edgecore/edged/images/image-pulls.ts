/**
 * Pulls of images, each in the background and one at a time per image and user, however many pods wait for it. A
 * pull that nobody waits for any more is cancelled. There is no queue: a registry that hangs holds up nobody else,
 * and pods are as many as the node takes.
 */

import { CancelledError } from '#protocol/errors.ts';
import type { PullAuth, RuntimeService } from '../runtime/runtime-service.ts';

interface Pull {
  readonly done: Promise<string>;
  readonly cancel: AbortController;
  waiters: number;
}

export class ImagePulls {
  readonly #runtime: Pick<RuntimeService, 'pullImage'>;
  readonly #pulls = new Map<string, Pull>();

  constructor(runtime: Pick<RuntimeService, 'pullImage'>) {
    this.#runtime = runtime;
  }

  get count(): number {
    return this.#pulls.size;
  }

  /** @throws RuntimeError as `pullImage` does, CancelledError */
  async pull(image: string, auth: PullAuth | undefined, signal: AbortSignal): Promise<string> {
    if (signal.aborted) throw new CancelledError();
    const key = JSON.stringify([image, auth?.username, auth?.password, auth?.identityToken]);
    const pull = this.#pulls.get(key) ?? this.#begin(key, image, auth);
    pull.waiters += 1;
    const leave = () => {
      pull.waiters -= 1;
      if (pull.waiters > 0) return;
      pull.cancel.abort();
      // Who comes later begins anew, instead of sharing a pull that is being given up.
      if (this.#pulls.get(key) === pull) this.#pulls.delete(key);
    };
    return new Promise<string>((resolve, reject) => {
      const abort = () => {
        leave();
        reject(new CancelledError());
      };
      signal.addEventListener('abort', abort, { once: true });
      pull.done.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
    });
  }

  #begin(key: string, image: string, auth: PullAuth | undefined): Pull {
    const cancel = new AbortController();
    const done = this.#runtime.pullImage(image, { auth, signal: cancel.signal });
    const pull: Pull = { done, cancel, waiters: 0 };
    this.#pulls.set(key, pull);
    const forget = () => {
      if (this.#pulls.get(key) === pull) this.#pulls.delete(key);
    };
    done.then(forget, forget);
    return pull;
  }
}
