/** Random downstream traffic with kills between: what was acknowledged is what a restart finds. */

import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Bus } from '#beehive/bus.ts';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { seededRandom } from '#beehive/random.ts';
import { newEnvelope } from '#protocol/message.ts';
import { openDatabase, type Store } from '../store/database.ts';
import { MetaStore } from '../store/meta-store.ts';
import { createMetaManager, metaManagerInbox } from './metamanager.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'hawser-durability-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Step =
  | { readonly do: 'put'; readonly path: string; readonly uid: string }
  | { readonly do: 'delete'; readonly path: string; readonly uid: string }
  | { readonly do: 'kill' };

const path = fc.constantFrom('default/pod/a', 'default/pod/b', 'default/configmap/a', 'other/secret/a');
const uid = fc.constantFrom('u1', 'u2');
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('put' as const), path, uid }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), path, uid }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const) }) },
);

interface Edge {
  readonly file: string;
  readonly store: Store;
  send(verb: string, path: string, content: unknown): Promise<void>;
  stop(): Promise<void>;
}

function start(file: string): Edge {
  const bus = new Bus({ clock: new ManualClock(), log: silentLog });
  const store = openDatabase(file, { log: silentLog });
  const stop = new AbortController();
  const acknowledged = new Map<string, () => void>();
  bus.open('metamanager', metaManagerInbox);
  bus.open('edged', { capacity: 10_000, lanesMax: 1 });
  bus.open('edgehub', { capacity: 1_000, lanesMax: 1 });
  const serving = bus.serve(
    'edgehub',
    async (up) => acknowledged.get(up.header.parent_msg_id ?? '')?.(),
    stop.signal,
  );
  const options = { remoteQueryTimeoutMs: 1_000, modules: ['edged'] };
  const parts = {
    clock: new ManualClock(),
    random: seededRandom(1),
    log: silentLog,
    metrics: createMetrics(),
  };
  const running = createMetaManager(options, { bus, store, ...parts }).run(stop.signal, () => {});
  return {
    file,
    store,
    send(verb, resource, content) {
      const route = { source: 'edgecontroller', group: 'resource', operation: verb, resource };
      const message = newEnvelope(route, content);
      const done = new Promise<void>((resolve) => acknowledged.set(message.header.msg_id, resolve));
      bus.send('metamanager', message);
      return done;
    },
    async stop() {
      stop.abort();
      await Promise.all([running, serving]);
      await store.close();
    },
  };
}

/** What a process finds that starts after another one was killed: the files as they lie there. */
async function killAndStart(edge: Edge, at: string): Promise<Edge> {
  mkdirSync(at);
  const file = join(at, 'edgecore.db');
  for (const part of ['', '-wal']) {
    if (existsSync(`${edge.file}${part}`)) copyFileSync(`${edge.file}${part}`, `${file}${part}`);
  }
  await edge.stop();
  return start(file);
}

test('the store equals the model, whenever the process is killed', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
      runs += 1;
      const home = join(dir, `run-${runs}`);
      mkdirSync(home);
      const model = new Map<string, { uid: string; version: string }>();
      let edge = start(join(home, 'edgecore.db'));
      try {
        for (const [at, one] of steps.entries()) {
          if (one.do === 'kill') edge = await killAndStart(edge, join(home, `kill-${at}`));
          else edge = await perform(edge, one, String(at + 1), model);
        }
        edge = await killAndStart(edge, join(home, 'end'));
        const held = new MetaStore(edge.store, { log: silentLog }).read((rows) => rows.held());
        const found = new Map(
          held.map((row) => [row.path, { uid: row.uid, version: row.resourceVersion }] as const),
        );
        expect(found).toEqual(model);
      } finally {
        await edge.stop();
        rmSync(home, { recursive: true, force: true });
      }
    }),
    { numRuns: 60 },
  );
});

async function perform(
  edge: Edge,
  one: Exclude<Step, { do: 'kill' }>,
  version: string,
  model: Map<string, { uid: string; version: string }>,
): Promise<Edge> {
  const [namespace, , name] = one.path.split('/');
  const metadata = { name, namespace, uid: one.uid, resourceVersion: version };
  await edge.send(one.do === 'put' ? 'update' : 'delete', one.path, { metadata });
  if (one.do === 'put') model.set(one.path, { uid: one.uid, version });
  else if (model.get(one.path)?.uid === one.uid) model.delete(one.path);
  return edge;
}
