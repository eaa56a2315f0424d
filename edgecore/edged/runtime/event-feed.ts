/** One producer, several async iterators: each sees what happens while it iterates, the oldest goes when one lags. */

const pendingMax = 1024;

export class EventFeed<T> {
  readonly #readers = new Set<{ pending: T[]; wake: () => void }>();

  publish(event: T): void {
    for (const reader of this.#readers) {
      reader.pending.push(event);
      if (reader.pending.length > pendingMax) reader.pending.shift();
      reader.wake();
    }
  }

  async *read(signal: AbortSignal): AsyncGenerator<T> {
    const reader = { pending: [] as T[], wake: () => {} };
    const wakeUp = () => reader.wake();
    signal.addEventListener('abort', wakeUp);
    this.#readers.add(reader);
    try {
      while (!signal.aborted) {
        const event = reader.pending.shift();
        if (event !== undefined) {
          yield event;
          continue;
        }
        await new Promise<void>((resolve) => {
          reader.wake = resolve;
        });
      }
    } finally {
      this.#readers.delete(reader);
      signal.removeEventListener('abort', wakeUp);
    }
  }
}
