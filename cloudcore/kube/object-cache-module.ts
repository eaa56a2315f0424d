/** The shared object cache as a module of the daemon: it follows the API as long as the daemon runs. */

import type { Module } from '#beehive/module.ts';
import type { ObjectCache } from './objects.ts';

/** Ready at once: an API that is away holds up nothing that can wait for it. */
export function createObjectCacheModule(cache: ObjectCache): Module {
  return {
    name: 'objectcache',
    async run(signal, ready) {
      ready();
      await cache.run(signal);
    },
  };
}
