/** Services as children of this process: they end with it. What `npm start` uses. */

import type { Clock } from '#beehive/clock.ts';
import type { Random } from '#beehive/random.ts';
import type { ServiceHost } from './service.ts';
import { supervise } from './supervise.ts';

export interface ForegroundHost extends ServiceHost {
  /** Stops everything, the last started first. */
  close(): Promise<void>;
}

export function createForegroundHost(components: { clock: Clock; random: Random }): ForegroundHost {
  const running = new Map<string, { stop: AbortController; done: Promise<void> }>();
  const stop = async (name: string) => {
    const service = running.get(name);
    running.delete(name);
    service?.stop.abort();
    await service?.done;
  };
  return {
    kind: 'foreground',
    async start(service) {
      await stop(service.name);
      const controller = new AbortController();
      running.set(service.name, {
        stop: controller,
        done: supervise(service, components, controller.signal),
      });
    },
    remove: stop,
    isRunning: async (name) => running.has(name),
    logOf: ({ logFile }) => logFile,
    async close() {
      for (const name of [...running.keys()].reverse()) await stop(name);
    },
  };
}
