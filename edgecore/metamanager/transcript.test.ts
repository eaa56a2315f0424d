/**
 * MetaManager against what a real KubeEdge cloud sent: every object is acknowledged with its own message id, and
 * at the end the store holds what that cloud left in being. Deviation, on purpose: KubeEdge's edge acknowledges
 * inserts of devices as source `meta`, group `twin`; ours copies the route, which that cloud takes as well.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { Bus } from '#beehive/bus.ts';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { seededRandom } from '#beehive/random.ts';
import { type Envelope, envelopeSchema, newEnvelope } from '#protocol/message.ts';
import { openDatabase } from '../store/database.ts';
import { MetaStore } from '../store/meta-store.ts';
import { createMetaManager, metaManagerInbox } from './metamanager.ts';

const lineSchema = z.looseObject({ dir: z.string().optional(), frame: envelopeSchema.optional() });

function framesOf(name: string): { up: boolean; frame: Envelope }[] {
  const text = readFileSync(new URL(`../../test/data/transcripts/${name}`, import.meta.url), 'utf8');
  return text.split('\n').flatMap((line) => {
    const { dir, frame } = line === '' ? {} : lineSchema.parse(JSON.parse(line));
    return frame === undefined ? [] : [{ up: dir === 'up', frame }];
  });
}

const keyOf = ({ route }: Envelope) => `${route.operation} ${route.resource}`;
const isObject = ({ header, route }: Envelope) => !header.parent_msg_id && route.group === 'resource';

/** The answers of the recorded cloud, by what was asked, in their order. */
function answersOf(frames: readonly { up: boolean; frame: Envelope }[]): Map<string, Envelope[]> {
  const asked = new Map(frames.filter((one) => one.up).map(({ frame }) => [frame.header.msg_id, frame]));
  const answers = new Map<string, Envelope[]>();
  for (const { up, frame } of frames) {
    const question = up ? undefined : asked.get(frame.header.parent_msg_id ?? '');
    if (question === undefined) continue;
    answers.set(keyOf(question), [...(answers.get(keyOf(question)) ?? []), frame]);
  }
  return answers;
}

test.each(['kubeedge-v1.23.1.jsonl', 'kubeedge-v1.23.1-reconnect.jsonl'])('%s', async (name) => {
  const frames = framesOf(name);
  const answers = answersOf(frames);
  const dir = mkdtempSync(join(tmpdir(), 'hawser-transcript-'));
  const clock = new ManualClock();
  const bus = new Bus({ clock, log: silentLog });
  const store = openDatabase(join(dir, 'edgecore.db'), { log: silentLog });
  const stop = new AbortController();
  const acknowledged = new Map<string, Envelope>();
  const waiting = new Map<string, () => void>();
  bus.open('metamanager', metaManagerInbox);
  bus.open('edged', { capacity: 1000, lanesMax: 1 });
  bus.open('twin', { capacity: 1000, lanesMax: 1 });
  bus.open('edgehub', { capacity: 1000, lanesMax: 1, keyOf: () => '' });
  const serving = bus.serve(
    'edgehub',
    async (up) => {
      const parent = up.header.parent_msg_id;
      if (parent !== undefined) {
        acknowledged.set(parent, up);
        waiting.get(parent)?.();
        return;
      }
      const recorded = answers.get(keyOf(up))?.shift();
      if (recorded === undefined) return;
      bus.answer(
        newEnvelope(recorded.route, recorded.content, {
          parentId: up.header.msg_id,
          ...(recorded.header.resourceversion === undefined
            ? {}
            : { resourceVersion: recorded.header.resourceversion }),
        }),
      );
    },
    stop.signal,
  );
  const module = createMetaManager(
    { remoteQueryTimeoutMs: 1_000, modules: ['edged', 'twin'] },
    { bus, store, clock, random: seededRandom(1), log: silentLog, metrics: createMetrics() },
  );
  const running = module.run(stop.signal, () => {});

  const expected = new Set<string>();
  for (const { up, frame } of frames) {
    const { operation, resource, group, source } = frame.route;
    if (up && source === 'edged' && group === 'meta' && answers.get(keyOf(frame))?.length) {
      const answer = await bus.request('metamanager', newEnvelope(frame.route, frame.content), {
        timeoutMs: 5_000,
      });
      const isStored = operation === 'query' && /\/(configmap|secret)\//.test(resource);
      if (isStored && answer.route.operation === 'response') expected.add(resource);
      if (operation === 'insert' && /\/node\//.test(resource)) expected.add(resource);
      if (operation === 'delete') expected.delete(resource);
    }
    if (up || !isObject(frame)) continue;
    const done = new Promise<void>((resolve) => waiting.set(frame.header.msg_id, resolve));
    bus.send('metamanager', frame);
    await done;
    const ack = acknowledged.get(frame.header.msg_id);
    expect([ack?.content, ack?.route]).toEqual(['OK', { ...frame.route, operation: 'response' }]);
    if (operation === 'delete') expected.delete(resource);
    else expected.add(resource);
  }
  const held = new MetaStore(store, { log: silentLog }).read((rows) => rows.held());
  expect(held.map((row) => row.path)).toEqual([...expected].sort());
  stop.abort();
  await Promise.all([running, serving]);
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});
