/**
 * Plays what a real KubeEdge edge asked, frame by frame, and compares our answers with those of its cloud: route,
 * form, and whether it worked. Uids and versions are put in place of the recorded ones.
 */

import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type Envelope, envelopeSchema } from '#protocol/message.ts';
import { parseObjectPath } from '#protocol/resource-path.ts';
import { type KubeObject, kubeObjectSchema } from '#protocol/resources/object.ts';
import { type ControllerFixture, startController } from '#test/fixtures/controller.ts';
import { createEdgeController, edgeControllerInbox } from './edgecontroller.ts';

const node = 'ke-edge-1';
const file = new URL('../../test/data/transcripts/kubeedge-v1.23.1.jsonl', import.meta.url);
const plurals: Readonly<Record<string, string>> = { Pod: 'pods', ConfigMap: 'configmaps', Secret: 'secrets' };

interface Frame {
  readonly dir: 'up' | 'down';
  readonly envelope: Envelope;
}

async function readFrames(): Promise<Frame[]> {
  const line = z.looseObject({ dir: z.string().optional(), frame: z.unknown().optional() });
  return (await readFile(file, 'utf8')).split('\n').flatMap((text): Frame[] => {
    const { dir, frame } = text === '' ? {} : line.parse(JSON.parse(text));
    return dir === 'up' || dir === 'down' ? [{ dir, envelope: envelopeSchema.parse(frame) }] : [];
  });
}

let fixture: ControllerFixture;
let uids: Map<string, string>;

beforeEach(async () => {
  uids = new Map();
  fixture = await startController('edgecontroller', edgeControllerInbox, (components) =>
    createEdgeController({}, components),
  );
});
afterEach(() => fixture.close());

/** Puts a recorded object into our API, once. */
async function provide(content: unknown): Promise<void> {
  const object = kubeObjectSchema.safeParse(content).data;
  const plural = plurals[object?.kind ?? ''];
  if (object === undefined || plural === undefined || uids.has(object.metadata.uid ?? '')) return;
  const { uid = '', resourceVersion: _, deletionTimestamp: _deletion, ...metadata } = object.metadata;
  const collection = { apiVersion: 'v1', plural, namespace: metadata.namespace };
  const made = await fixture.api.create(collection, { ...object, metadata });
  uids.set(uid, made.metadata.uid ?? '');
  await fixture.settle();
}

async function ours({ route, content }: Envelope): Promise<unknown> {
  let text = JSON.stringify(content);
  for (const [recorded, own] of uids) text = text.replaceAll(recorded, own);
  const value: unknown = JSON.parse(text);
  const { type, namespace, name = '' } = parseObjectPath(route.resource);
  if (type !== 'lease' || route.operation !== 'update') return value;
  const lease = z.looseObject({ metadata: z.looseObject({}) }).parse(value);
  const stored = await fixture.api.get({
    apiVersion: 'coordination.k8s.io/v1',
    plural: 'leases',
    namespace,
    name,
  });
  return { ...lease, metadata: { ...lease.metadata, resourceVersion: stored.metadata.resourceVersion } };
}

const response = z.looseObject({
  Object: z.unknown().optional(),
  Err: z.looseObject({ ErrStatus: z.looseObject({ reason: z.string() }) }).nullable(),
});

function formOf({ route, content }: Envelope): object {
  const { source, group, operation } = route;
  const resource = route.resource.replace(`node/${node}/`, '');
  const answered = response.safeParse(content).data;
  const bare = (content as Partial<KubeObject> | null)?.kind;
  const form =
    answered === undefined
      ? (bare ?? content)
      : { found: answered.Object !== null, reason: answered.Err?.ErrStatus.reason };
  return { source, group, operation, resource, form };
}

describe('answers of EdgeController', () => {
  it("are those of KubeEdge's cloud", async () => {
    const frames = await readFrames();
    const recorded = new Map(
      frames
        .filter(({ dir }) => dir === 'down')
        .map(({ envelope }) => [envelope.header.parent_msg_id, envelope]),
    );
    let compared = 0;
    for (const { dir, envelope } of frames) {
      if (dir === 'down') await provide(envelope.content);
      const wanted = recorded.get(envelope.header.msg_id);
      if (dir === 'down' || wanted === undefined || envelope.route.source !== 'edged') continue;
      await provide(wanted.content);
      const { operation, resource } = envelope.route;
      const answer = await fixture.answerTo(fixture.ask(node, operation, resource, await ours(envelope)));
      expect(formOf(answer)).toEqual(formOf(wanted));
      compared += 1;
    }
    expect(compared).toBeGreaterThan(25);
  });
});
