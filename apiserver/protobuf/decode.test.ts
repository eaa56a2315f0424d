import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { Writer } from 'protobufjs/minimal.js';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { StatusError } from '../status-error.ts';
import { decodeProtobuf } from './decode.ts';

/** Request bodies as kubectl 1.32 sent them, base64. */
const bodies = z
  .record(z.string(), z.string())
  .parse(JSON.parse(readFileSync(new URL('./kubectl-bodies.json', import.meta.url), 'utf8')));

const body = (name: string) => Buffer.from(bodies[name] ?? '', 'base64');

function envelope(apiVersion: string, kind: string, raw: Uint8Array): Uint8Array {
  const writer = Writer.create();
  writer.uint32(10).fork().uint32(10).string(apiVersion).uint32(18).string(kind).ldelim();
  writer.uint32(18).bytes(raw);
  return Buffer.concat([Buffer.from('k8s\0'), writer.finish()]);
}

describe('bodies that kubectl sends', () => {
  it.each([
    [
      'configmaps',
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'cm' }, data: { a: '1', b: 'zwei' } },
    ],
    [
      'configmaps with bytes',
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'cmb' }, binaryData: { bin: 'AP8=' } },
    ],
    ['secrets', { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, data: { p: 'dw==' } }],
    ['namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'n' } }],
    ['serviceaccounts', { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'acc' } }],
    [
      'resourcequotas',
      { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'q' }, spec: { hard: { pods: '3' } } },
    ],
    ['delete options', { apiVersion: 'v1', kind: 'DeleteOptions' }],
    ['selfsubjectreviews', { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }],
  ])('%s', (name, expected) => {
    expect(decodeProtobuf(body(name))).toEqual(expected);
  });

  it('keeps a zero that is told apart from none', () => {
    expect(decodeProtobuf(body('deployments'))).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', labels: { app: 'web' } },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'nginx', image: 'nginx', ports: [{ containerPort: 80 }] }] },
        },
      },
    });
  });

  it('reads int-or-string, reviews and tokens', () => {
    expect(decodeProtobuf(body('services'))).toMatchObject({
      spec: { ports: [{ name: '80-8080', protocol: 'TCP', port: 80, targetPort: 8080 }] },
    });
    expect(decodeProtobuf(body('selfsubjectaccessreviews'))).toMatchObject({
      spec: { resourceAttributes: { namespace: 'default', verb: 'get', resource: 'pods' } },
    });
    expect(decodeProtobuf(body('token'))).toMatchObject({
      kind: 'TokenRequest',
      spec: { expirationSeconds: 3600 },
    });
  });

  it('reads every captured body', () => {
    for (const name of Object.keys(bodies)) {
      expect(decodeProtobuf(body(name)), name).toHaveProperty('kind');
    }
  });
});

describe('bodies made by hand', () => {
  const object = (metadata: (writer: Writer) => void) => {
    const writer = Writer.create();
    writer.uint32(10).fork();
    metadata(writer);
    return decodeProtobuf(envelope('v1', 'Pod', writer.ldelim().finish()));
  };

  it('reads times', () => {
    const read = object((writer) => writer.uint32(66).fork().uint32(8).int64(1_767_225_600).ldelim());
    expect(read).toMatchObject({ metadata: { creationTimestamp: '2026-01-01T00:00:00Z' } });
    expect(object((writer) => writer.uint32(66).bytes(new Uint8Array()))).toEqual({
      apiVersion: 'v1',
      kind: 'Pod',
    });
  });

  it('keeps a label called __proto__ a label', () => {
    const read = object((writer) =>
      writer.uint32(90).fork().uint32(10).string('__proto__').uint32(18).string('x').ldelim(),
    );
    expect(JSON.stringify(read)).toContain('"labels":{"__proto__":"x"}');
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  it('keeps an empty directory volume', () => {
    const volume = Writer.create()
      .uint32(10)
      .string('v')
      .uint32(18)
      .fork()
      .uint32(18)
      .bytes(new Uint8Array())
      .ldelim();
    const spec = Writer.create().uint32(10).bytes(volume.finish());
    const raw = Writer.create().uint32(18).bytes(spec.finish()).finish();
    expect(decodeProtobuf(envelope('v1', 'Pod', raw))).toMatchObject({
      spec: { volumes: [{ name: 'v', emptyDir: {} }] },
    });
  });
});

describe('bodies that are refused', () => {
  it('says which kinds are not read', () => {
    const act = () => decodeProtobuf(envelope('example.io/v1', 'Thing', new Uint8Array()));
    expect(act).toThrow(expect.objectContaining({ reason: 'UnsupportedMediaType' }));
  });

  it('refuses anything else with BadRequest, and never fails otherwise', () => {
    const bytes = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(bytes, fc.constantFrom('Pod', 'Secret', 'Event', 'Node'), (raw, kind) => {
        for (const input of [raw, envelope('v1', kind, raw)]) {
          try {
            decodeProtobuf(input);
          } catch (error) {
            expect(error).toBeInstanceOf(StatusError);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
