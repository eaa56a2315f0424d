/**
 * Values that events push and one `for await` pulls. It has no cap of its own: who pushes looks at `size`
 * and stops its source.
 */

interface Waiter<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

type End = { readonly error?: unknown };

export class PullQueue<T> implements AsyncIterable<T> {
  readonly #values: T[] = [];
  readonly #pulled: (value: T) => void;
  #waiter: Waiter<T> | undefined;
  #end: End | undefined;
  #iterated = false;

  /** @param pulled told of each value when it leaves */
  constructor(pulled: (value: T) => void = () => {}) {
    this.#pulled = pulled;
  }

  get size(): number {
    return this.#values.length;
  }

  /** After `end` or `fail`, values are dropped. */
  push(value: T): void {
    if (this.#end !== undefined) return;
    this.#values.push(value);
    this.#serve();
  }

  /** What was pushed before is still delivered. */
  end(): void {
    this.#end ??= {};
    this.#serve();
  }

  fail(error: unknown): void {
    this.#end ??= { error };
    this.#serve();
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    if (this.#iterated) throw new TypeError('iterated already');
    this.#iterated = true;
    return {
      next: () =>
        new Promise((resolve, reject) => {
          this.#waiter = { resolve, reject };
          this.#serve();
        }),
      return: () => {
        this.end();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #serve(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    for (const value of this.#values.splice(0, 1)) {
      this.#waiter = undefined;
      this.#pulled(value);
      waiter.resolve({ done: false, value });
      return;
    }
    if (this.#end === undefined) return;
    this.#waiter = undefined;
    const { error } = this.#end;
    this.#end = {};
    if (error === undefined) waiter.resolve({ done: true, value: undefined });
    else waiter.reject(error);
  }
}
