/** Good input to start from: what a real KubeEdge said on its wire and over MQTT, as recorded, and documents of ours. */

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { z } from 'zod';
import { type Envelope, envelopeSchema } from '#protocol/message.ts';
import type { Json } from './chaos.ts';

const root = process.env.HAWSER_FUZZ_ROOT ?? new URL('../../', import.meta.url).pathname;

const frameLine = z.looseObject({ dir: z.string().optional(), frame: envelopeSchema.optional() });
const mqttLine = z.looseObject({ topic: z.string().optional(), payload: z.unknown().optional() });

export interface Corpus {
  readonly up: readonly Envelope[];
  readonly down: readonly Envelope[];
  readonly mqtt: readonly { readonly topic: string; readonly payload: Json }[];
  readonly contents: readonly Json[];
  /** Kubernetes objects among the contents. */
  readonly objects: readonly { readonly [key: string]: Json }[];
}

/** Bodies as kubectl sends them in protobuf. */
export function protobufBodies(): Buffer[] {
  const text = readFileSync(`${root}apiserver/protobuf/kubectl-bodies.json`, 'utf8');
  const bodies = z.record(z.string(), z.string()).parse(JSON.parse(text));
  return Object.values(bodies).map((body) => Buffer.from(body, 'base64'));
}

export function loadCorpus(): Corpus {
  const recorded = ['kubeedge-v1.23.1.jsonl', 'kubeedge-v1.23.1-reconnect.jsonl'].flatMap((name) =>
    linesOf(name).flatMap((line) => {
      const { dir, frame } = frameLine.parse(line);
      return frame === undefined ? [] : [{ dir, frame }];
    }),
  );
  const frames = recorded.map(({ frame }) => frame);
  const mqtt = linesOf('kubeedge-v1.23.1-mqtt.jsonl').flatMap((line) => {
    const { topic, payload } = mqttLine.parse(line);
    return topic === undefined ? [] : [{ topic, payload: jsonOf(payload) }];
  });
  // Random documents beside the recorded ones, always the same.
  const random = fc.sample(fc.jsonValue({ depthSize: 'medium' }), { numRuns: 300, seed: 7 });
  const contents = [...frames.map(({ content }) => jsonOf(content)), ...random.map(jsonOf)];
  return {
    up: recorded.filter(({ dir }) => dir === 'up').map(({ frame }) => frame),
    down: recorded.filter(({ dir }) => dir === 'down').map(({ frame }) => frame),
    mqtt,
    contents,
    objects: contents.filter(isKubeObject),
  };
}

/** Everything here came from JSON text. */
export function jsonOf(value: unknown): Json {
  return (value ?? null) as Json;
}

function isKubeObject(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && 'metadata' in value;
}

function linesOf(name: string): unknown[] {
  const text = readFileSync(`${root}test/data/transcripts/${name}`, 'utf8');
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
}
