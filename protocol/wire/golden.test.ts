/** Frames recorded between KubeEdge's own two ends hold the wire still. */

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { catalogue } from '../catalogue.ts';
import { type Envelope, envelopeSchema } from '../message.ts';
import { kindOf, open } from '../open.ts';
import { formatDevicePath, formatObjectPath, parseObjectPath } from '../resource-path.ts';
import { parseLocalTopic } from '../topics.ts';
import { decodeFrame, encodeFrame } from './json-frame.ts';

const recordings = ['kubeedge-v1.23.1.jsonl', 'kubeedge-v1.23.1-reconnect.jsonl'];

/** What the recordings hold and the catalogue leaves to others: MetaServer's requests and their answers. */
const passedOn = new Set([
  'metaserver/null null',
  'dynamiccontroller/applicationResponse ignore/Application/ignore',
]);

function linesOf(name: string): unknown[] {
  const text = readFileSync(new URL(`../../test/data/transcripts/${name}`, import.meta.url), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

const frameLine = z.object({ frame: z.unknown(), dir: z.enum(['up', 'down']) });

function framesOf(name: string): { dir: 'up' | 'down'; frame: unknown }[] {
  return linesOf(name).flatMap((line) => {
    const parsed = frameLine.safeParse(line);
    return parsed.success ? [parsed.data] : [];
  });
}

describe.each(recordings)('%s', (name) => {
  const frames = framesOf(name);

  test('has frames', () => {
    expect(frames.length).toBeGreaterThan(50);
  });

  test('every frame parses and re-serialises to an equal value', () => {
    for (const { frame } of frames) {
      const envelope = decodeFrame(`${JSON.stringify(frame)}\n`);
      expect(JSON.parse(encodeFrame(envelope))).toStrictEqual(frame);
    }
  });

  test('every frame is of a known kind, or listed as passed on', () => {
    for (const { frame } of frames) {
      const { route } = envelopeSchema.parse(frame);
      const known = kindOf(envelopeSchema.parse(frame)) !== undefined;
      if (!known) expect(passedOn).toContain(`${route.source}/${route.operation} ${route.resource}`);
    }
  });

  test('every content fits its kind, and nothing in it is lost', () => {
    for (const { frame } of frames) {
      const envelope = envelopeSchema.parse(frame);
      const message = open(envelope);
      if (message.kind === 'unknown') continue;
      // The text was written by Go with its own order of keys, so it is compared as JSON.
      const sent = catalogue[message.kind].asText ? textOf(envelope.content) : envelope.content;
      expect(message.content, message.kind).toStrictEqual(sent);
    }
  });

  test('every path is rebuilt as it was', () => {
    for (const { frame } of frames) {
      const envelope = envelopeSchema.parse(frame);
      const message = open(envelope);
      if (message.kind === 'devicetwin/update') {
        expect(formatDevicePath(message.device, 'twin/edge_updated')).toBe(envelope.route.resource);
      }
      if (message.kind === 'pod/update') {
        expect(formatObjectPath(message.path)).toBe(envelope.route.resource);
        expect(parseObjectPath(envelope.route.resource)).toEqual(message.path);
      }
    }
  });
});

test('the kinds of one life of a node', () => {
  const kinds = new Set<string>();
  for (const name of recordings) {
    for (const { frame } of framesOf(name)) kinds.add(open(envelopeSchema.parse(frame)).kind);
  }
  expect([...kinds].sort()).toMatchSnapshot();
});

test('every MQTT topic of a client is understood, and no answer of the edge is taken for one', () => {
  const line = z.object({ topic: z.string() });
  const local = linesOf('kubeedge-v1.23.1-mqtt.jsonl').map((entry) => line.parse(entry).topic);
  for (const topic of local.filter((text) => /^\$hw\/events\/(device|node)\//.test(text))) {
    const answer = /\/(result|document|delta|updated)$/.test(topic);
    expect(parseLocalTopic(topic) === undefined, topic).toBe(answer);
  }
});

test('an acknowledgement is told from an answer with an object', () => {
  const ack: Envelope = {
    header: { msg_id: 'a', parent_msg_id: 'b', timestamp: 1 },
    route: {
      source: 'edgecontroller',
      group: 'resource',
      operation: 'response',
      resource: 'default/pod/web',
    },
    content: 'OK',
  };
  expect(kindOf(ack)).toBe('ack');
  expect(kindOf({ ...ack, content: { Object: null, Err: null } })).toBe('pod/response');
});

function textOf(content: unknown): unknown {
  return JSON.parse(z.string().parse(content));
}
