/** Keeps the log short: compaction, and events that are past their time. */

import { resource } from '../api.ts';
import { textAt } from '../kube-object.ts';
import { limits } from '../limits.ts';
import { isNotFound } from '../status-error.ts';
import type { LogStore } from '../store/log-store.ts';
import { type Controller, type ControllerComponents, every } from './controller.ts';

export function createHousekeeping(store: LogStore, components: ControllerComponents): Controller {
  const { clock, api, log } = components;
  async function dropOldEvents(): Promise<void> {
    const oldest = clock.now() - limits.eventMs;
    const old = api.list(resource.events).items.filter((event) => {
      const times = [
        event.metadata.creationTimestamp,
        textAt(event, 'lastTimestamp'),
        textAt(event, 'series', 'lastObservedTime'),
      ];
      const last = Math.max(...times.map((time) => (time === undefined ? 0 : Date.parse(time) || 0)));
      return last < oldest;
    });
    await Promise.all(
      old.map(async ({ metadata: { namespace, name } }) => {
        try {
          await api.delete({ ...resource.events, namespace, name });
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
      }),
    );
  }
  return {
    name: 'housekeeping',
    run: (signal) =>
      every(components, limits.compactEveryMs, signal, async () => {
        await dropOldEvents();
        const rows = store.compact();
        if (rows > 0) log.debug({ rows }, 'compacted the log');
      }),
  };
}
