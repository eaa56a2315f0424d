/** For tests: MetaManager over a real store and bus, with a scripted cloud and modules that only note what they get. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bus } from '#beehive/bus.ts';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { seededRandom } from '#beehive/random.ts';
import { type Envelope, newEnvelope, replyError } from '#protocol/message.ts';
import { openDatabase, type Store } from '../store/database.ts';
import { MetaStore } from '../store/meta-store.ts';
import { createMetaManager, metaManagerInbox } from './metamanager.ts';

export type Cloud = (envelope: Envelope) => Envelope | undefined;

export const offline: Cloud = (envelope) =>
  envelope.header.parent_msg_id === undefined
    ? replyError(envelope, 'not connected to the cloud')
    : undefined;

export interface Rig {
  readonly bus: Bus;
  readonly store: Store;
  readonly meta: MetaStore;
  readonly clock: ManualClock;
  readonly got: { edgehub: Envelope[]; edged: Envelope[]; twin: Envelope[] };
  /** Resolves with the next envelope that reaches the module and passes. */
  next(module: 'edgehub' | 'edged' | 'twin', passes?: (envelope: Envelope) => boolean): Promise<Envelope>;
  down(verb: string, path: string, content: unknown): Promise<Envelope>;
  ask(verb: string, path: string, content?: unknown): Promise<Envelope>;
  stop(): Promise<void>;
}

/** The rigs of one test, in a directory of their own. */
export class TestRigs {
  readonly #dir = mkdtempSync(join(tmpdir(), 'hawser-meta-'));
  readonly #rigs: Rig[] = [];

  start(cloud: Cloud, edgedCapacity = 100): Rig {
    const rig = startRig(this.#dir, cloud, edgedCapacity);
    this.#rigs.push(rig);
    return rig;
  }

  async end(): Promise<void> {
    for (const rig of this.#rigs) await rig.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function startRig(dir: string, cloud: Cloud, edgedCapacity: number): Rig {
  const clock = new ManualClock();
  const bus = new Bus({ clock, log: silentLog });
  const store = openDatabase(join(dir, 'edgecore.db'), { log: silentLog });
  const stop = new AbortController();
  const got: Rig['got'] = { edgehub: [], edged: [], twin: [] };
  const watchers = new Set<() => void>();
  bus.open('metamanager', metaManagerInbox);
  for (const name of ['edgehub', 'edged', 'twin'] as const) {
    bus.open(name, { capacity: name === 'edged' ? edgedCapacity : 100, lanesMax: 1, keyOf: () => '' });
    void bus.serve(
      name,
      async (envelope) => {
        got[name].push(envelope);
        const answer = name === 'edgehub' ? cloud(envelope) : undefined;
        if (answer !== undefined) bus.answer(answer);
        for (const look of watchers) look();
      },
      stop.signal,
    );
  }
  const module = createMetaManager(
    { remoteQueryTimeoutMs: 60_000, modules: ['edged', 'twin'] },
    { bus, store, clock, random: seededRandom(1), log: silentLog, metrics: createMetrics() },
  );
  const running = module.run(stop.signal, () => {});
  let stopped = false;
  const rig: Rig = {
    bus,
    store,
    meta: new MetaStore(store, { log: silentLog }),
    clock,
    got,
    next(name, passes = () => true) {
      const from = got[name].length;
      return new Promise((resolve) => {
        const look = () => {
          const found = got[name].slice(from).find(passes);
          if (found === undefined) return;
          watchers.delete(look);
          resolve(found);
        };
        watchers.add(look);
      });
    },
    async down(verb, path, content) {
      const route = { source: 'edgecontroller', group: 'resource', operation: verb, resource: path };
      const message = newEnvelope(route, content);
      const answered = rig.next('edgehub', (up) => up.header.parent_msg_id === message.header.msg_id);
      bus.send('metamanager', message);
      return answered;
    },
    ask(verb, path, content = null) {
      const route = { source: 'edged', group: 'meta', operation: verb, resource: path };
      return bus.request('metamanager', newEnvelope(route, content), { timeoutMs: 120_000 });
    },
    async stop() {
      if (stopped) return;
      stopped = true;
      stop.abort();
      await running;
      await store.close();
    },
  };
  return rig;
}

export const object = (path: string, uid: string, resourceVersion: string, more: object = {}) => {
  const [namespace, , name] = path.split('/');
  const scope = namespace === 'null' ? {} : { namespace };
  return { metadata: { name, ...scope, uid, resourceVersion }, ...more };
};
export const pod = (uid: string, version: string, more: object = {}) =>
  object('default/pod/web', uid, version, { apiVersion: 'v1', kind: 'Pod', ...more });

export const tokenRequest = (podUid: string) => ({
  spec: {
    audiences: null,
    expirationSeconds: 3600,
    boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'web', uid: podUid },
  },
  status: null,
});
const startMs = Date.UTC(2026, 0, 1);
export const tokenAnswer = (lifeSeconds: number, token = 'secret', fromMs = startMs) => ({
  ...tokenRequest('u1'),
  status: { token, expirationTimestamp: new Date(fromMs + lifeSeconds * 1000).toISOString() },
});
