/** Parsers called directly: frames and their contents, paths and topics, tokens, requests for certificates, YAML. */

import { generateKeyPairSync, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { builtInResources } from '#apiserver/builtin-resources.ts';
import { builtinType } from '#apiserver/builtin-types/type-table.ts';
import { isJsonObject, type JsonValue } from '#apiserver/kube-object.ts';
import { parseJsonPath } from '#apiserver/kubectl/json-path.ts';
import { jsonPatch } from '#apiserver/patch/json-patch.ts';
import { mergePatch } from '#apiserver/patch/merge-patch.ts';
import { strategicMergePatch } from '#apiserver/patch/strategic-merge-patch.ts';
import { protobufMediaType } from '#apiserver/protobuf/decode.ts';
import { parseBody, parseJson } from '#apiserver/rest/body.ts';
import { parseRequest } from '#apiserver/rest/request-info.ts';
import { parseFieldSelector } from '#apiserver/selectors/field-selector.ts';
import { parseLabelSelector } from '#apiserver/selectors/label-selector.ts';
import { systemClock } from '#beehive/clock.ts';
import { parseConfig } from '#beehive/config-file.ts';
import { formatYaml } from '#beehive/yaml.ts';
import { dispatchDown, dispatchUp } from '#cloudcore/cloudhub/dispatcher.ts';
import { createCa, issueNode, readNodeSubject, readRequest } from '#cloudcore/cloudhub/pki.ts';
import { TokenIssuer } from '#cloudcore/cloudhub/token.ts';
import { cloudcoreConfigFormat, cloudcoreConfigSchema } from '#cloudcore/config.ts';
import { readAsk } from '#cloudcore/router/asks.ts';
import { parsePathPattern } from '#cloudcore/router/path-pattern.ts';
import { matchRule, readRestRequest, resourceFor } from '#cloudcore/router/rest-request.ts';
import { edgecoreConfigSchema, edgecoreFormat } from '#edgecore/config.ts';
import { parseDurationMs } from '#edgecore/edged/duration.ts';
import { routeOf } from '#edgecore/edgehub/route.ts';
import { parseToken } from '#edgecore/edgehub/token.ts';
import { filterRefusal, topicRefusal } from '#edgecore/eventbus/broker-rules.ts';
import { readTarget } from '#edgecore/servicebus/app-call.ts';
import { readAppRequest } from '#edgecore/servicebus/app-server.ts';
import { catalogue, isMessageKind, type MessageKind } from '#protocol/catalogue.ts';
import { newEnvelope } from '#protocol/message.ts';
import { open, openFromNode } from '#protocol/open.ts';
import { parseQuantity } from '#protocol/quantity.ts';
import {
  parseDeviceId,
  parseDevicePath,
  parseObjectPath,
  splitNode,
  withNode,
} from '#protocol/resource-path.ts';
import { fixedSubscriptions, parseLocalTopic, topicMatches } from '#protocol/topics.ts';
import { decodeFrame, encodeFrame } from '#protocol/wire/json-frame.ts';
import { type Chaos, textOf } from './chaos.ts';
import { type Corpus, jsonOf, protobufBodies } from './corpus.ts';
import { refusal, type Target, verdictOf } from './target.ts';

export async function parserTargets(corpus: Corpus): Promise<Target[]> {
  return [
    frames(corpus),
    contents(corpus),
    paths(),
    apiBodies(corpus),
    apiPatches(corpus),
    await tokens(),
    await certificateRequests(),
    configs(),
  ];
}

function frames({ up, down }: Corpus): Target {
  const all = [...up, ...down].map(jsonOf);
  return {
    name: 'frames',
    share: 0.359,
    atOnce: 1,
    run: (chaos) => verdictOf(() => readFrame(chaos.json(chaos.pick(all)))),
  };
}

/** All that is done with a frame before and at a module's door, at either end. */
function readFrame(text: string): void {
  const envelope = decodeFrame(text);
  encodeFrame(envelope);
  dispatchUp(envelope, 'edge-1', 'hawser');
  routeOf(envelope);
  for (const step of [dispatchDown, open, openFromNode]) verdictOf(() => step(envelope));
  const { route } = envelope;
  verdictOf(() =>
    openFromNode({ ...envelope, route: { ...route, resource: withNode('n', route.resource) } }),
  );
}

/** Contents of every kind of message, in an envelope of exactly that kind. */
function contents(corpus: Corpus): Target {
  const kinds = Object.keys(catalogue).filter(isMessageKind);
  return {
    name: 'contents of each kind',
    share: 0.2,
    atOnce: 1,
    run(chaos) {
      const kind = chaos.pick(kinds);
      const text = chaos.json(chaos.pick(corpus.contents));
      return verdictOf(() => {
        const route = routeOfKind(kind);
        const frame = textOf({ header: { msg_id: 'm', timestamp: 1 }, route, content: '@content@' });
        const asText = JSON.stringify(text);
        open(decodeFrame(frame.replace('"@content@"', () => (chaos.chance(0.5) ? text : asText))));
      });
    },
  };
}

function routeOfKind(kind: MessageKind): Record<string, string> {
  const [type = '', operation = 'update'] = kind.split('/');
  const route = { source: 'edged', group: 'resource', operation, resource: `default/${type}/x` };
  switch (type) {
    case 'ack':
      return { ...route, operation: 'response' };
    case 'error':
      return { ...route, operation: 'error' };
    case 'keepalive':
      return { ...route, operation: 'keepalive', resource: 'node' };
    case 'session':
      return { ...route, group: 'session', resource: 'session/held' };
    case 'membership':
      return { ...route, resource: 'membership' };
    case 'membership-detail':
      return { ...route, resource: 'membership/detail' };
    case 'devicetwin':
      return { ...route, resource: 'device/default/t/twin/edge_updated' };
    case 'devicestate':
      return { ...route, resource: 'device/default/t/state/update' };
    case 'connection':
      return { ...route, resource: 'node/connection' };
    case 'servicebus':
      return routeOfServiceBus(operation);
    default:
      return operation === 'delete-request' ? { ...route, group: 'meta', operation: 'delete' } : route;
  }
}

function routeOfServiceBus(word: string): Record<string, string> {
  const route = { group: 'user', resource: '8080:/api' };
  if (word === 'ask' || word === 'answer') return { ...route, source: 'servicebus', operation: 'upload' };
  return { ...route, source: 'router_servicebus', operation: word === 'call' ? 'POST' : word };
}

const goodTexts = [
  '/edge-1/default/shop/7/items?x=1',
  '/shop/{id}/items',
  '8080:/api/x?y=1',
  '{"method":"POST","targetURL":"http://a/b","payload":{"x":[1,"y"]}}',
  'default/pod/nginx',
  'node/edge-1/default/pod/nginx',
  'device/default/t/twin/edge_updated',
  '$hw/events/device/default/t/twin/update',
  '$hw/events/node/edge-1/membership/get',
  '/apis/apps/v1/namespaces/default/deployments/x/scale',
  '/api/v1/namespaces/default/pods?fieldSelector=metadata.name=x',
  'app in (a, b), tier!=front, !gone',
  'spec.nodeName=edge-1,status.phase!=Failed',
  '{.status.conditions[?(@.type=="Ready")].status}',
  '1h30m5.5s',
  '1500Mi',
];

function paths(): Target {
  const podResource = builtInResources.find(({ plural }) => plural === 'pods');
  if (podResource === undefined) throw new TypeError('no pods');
  const readers: ((text: string) => unknown)[] = [
    parseObjectPath,
    splitNode,
    parseDevicePath,
    parseDeviceId,
    parseLocalTopic,
    topicRefusal,
    filterRefusal,
    (text) => fixedSubscriptions.map((filter) => topicMatches(filter, text)),
    (text) => topicMatches(text, '$hw/events/device/default/t/twin/update'),
    (text) => parseRequest('GET', text, new URLSearchParams(text)),
    parseLabelSelector,
    (text) => parseFieldSelector(text, podResource),
    parseJsonPath,
    parseDurationMs,
    parseQuantity,
    readRuleText,
    (text) => readAppRequest(text),
    (text) => readAsk(Buffer.from(text).toString('base64')),
    (text) => readTarget(newEnvelope({ source: '', group: '', operation: 'POST', resource: text }, null)),
  ];
  return {
    name: 'paths, topics and selectors',
    share: 0.12,
    atOnce: 1,
    run(chaos) {
      const text = chaos.chance(0.01)
        ? chaos.pick(['/', 'a', '+/', '.', '(', '%', '\\', '0']).repeat(100_000)
        : chaos.text(chaos.pick(goodTexts));
      const read = chaos.pick(readers);
      return verdictOf(() => read(text));
    },
  };
}

/** As a path that was asked, and as one that a rule has. */
function readRuleText(text: string): void {
  const asked = readRestRequest(text);
  const pattern = parsePathPattern(text);
  const target = { kind: 'servicebus', port: 80, path: '/' } as const;
  if (typeof pattern === 'string' || 'reason' in asked) return;
  const own = { rule: 'r', namespace: asked.namespace, pattern, target };
  const match = matchRule(asked, [own, { ...own, pattern: { segments: [undefined], key: '{}' } }]);
  resourceFor(target, match?.rest ?? '', asked.query);
}

function apiBodies(corpus: Corpus): Target {
  const protobuf = protobufBodies();
  return {
    name: 'API bodies',
    share: 0.08,
    atOnce: 1,
    run(chaos) {
      const mediaType = chaos.pick(['application/json', 'application/yaml', protobufMediaType]);
      const bytes =
        mediaType === protobufMediaType
          ? Buffer.from(chaos.bytes(chaos.pick(protobuf)))
          : Buffer.from(chaos.chance(0.02) ? deepYaml(chaos) : chaos.json(chaos.pick(corpus.objects)));
      return verdictOf(() => parseBody({ mediaType, bytes }));
    },
  };
}

/** Nested so deep that who reads it by recursion comes to the end of the stack, at one place or another. */
function deepYaml(chaos: Chaos): string {
  const opening = chaos.pick(['[', '{a: ', '- ', '? ', '[ "]", ', '{"a":', '- - ', '!!seq [', '&a [']);
  return opening.repeat(100 + chaos.int(20_000)) + chaos.word();
}

const goodJsonPatch = [
  { op: 'add', path: '/metadata/labels/a', value: 'b' },
  { op: 'test', path: '/metadata/name', value: 'x' },
  { op: 'move', from: '/metadata/labels', path: '/metadata/annotations' },
  { op: 'copy', from: '/metadata', path: '/spec' },
  { op: 'replace', path: '/spec', value: { a: [1, 2] } },
  { op: 'remove', path: '/status' },
];

function apiPatches({ objects }: Corpus): Target {
  const pod = builtinType('v1', 'Pod');
  return {
    name: 'API patches',
    share: 0.1,
    atOnce: 1,
    run(chaos) {
      const target = parseJson(Buffer.from(textOf(chaos.pick(objects))));
      if (!isJsonObject(target) || pod === undefined) throw new TypeError('not a document to patch');
      const kind = chaos.int(3);
      const good = kind === 0 ? goodJsonPatch : chaos.pick(objects);
      return verdictOf(() => {
        const patch: JsonValue = parseJson(Buffer.from(chaos.json(good)));
        if (kind === 0) jsonPatch(target, patch);
        else if (kind === 1) mergePatch(target, patch);
        else if (isJsonObject(patch)) strategicMergePatch(target, patch, pod);
      });
    },
  };
}

async function tokens(): Promise<Target> {
  const issuer = new TokenIssuer(Buffer.alloc(32, 1), systemClock);
  const good = await issuer.issue('ab'.repeat(32), 3_600_000);
  return {
    name: 'tokens',
    share: 0.05,
    atOnce: 1,
    async run(chaos) {
      const text = chaos.chance(0.01)
        ? chaos.pick(['.', 'a.', 'a']).repeat(1_000_000)
        : chaos.text(chaos.chance(0.5) ? good : reheaded(good, chaos));
      const asked = verdictOf(() => parseToken(text));
      try {
        await issuer.verify(text.slice(text.indexOf('.') + 1));
        return 'taken';
      } catch (error) {
        refusal(error);
        return asked;
      }
    },
  };
}

/** With another header and other claims, not signed again. */
function reheaded(token: string, chaos: Chaos): string {
  const [hash, , , signature] = token.split('.');
  const encode = (value: string) => Buffer.from(value).toString('base64url');
  const header = chaos.json({ alg: chaos.pick(['none', 'HS256', 'RS256', 'ES256']), typ: 'JWT' });
  return [hash, encode(header), encode(chaos.json({ exp: 4e9, iat: 1, jti: 'x' })), signature].join('.');
}

async function certificateRequests(): Promise<Target> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'O=system:nodes,CN=system:node:edge-1',
    keys,
    signingAlgorithm: algorithm,
  });
  const request = new Uint8Array(csr.rawData);
  const ca = await createCa(systemClock.now());
  const publicKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
    type: 'spki',
    format: 'der',
  });
  const subject = { node: 'edge-1', machine: undefined };
  const certificate = await issueNode(ca, { subject, publicKey, days: 1 }, systemClock.now());
  return {
    name: 'certificate requests',
    share: 0.02,
    atOnce: 1,
    async run(chaos) {
      readNodeSubject(chaos.bytes(certificate));
      try {
        await readRequest(chaos.bytes(request));
        return 'taken';
      } catch (error) {
        return refusal(error);
      }
    },
  };
}

function configs(): Target {
  const good = [
    formatYaml(edgecoreConfigSchema.parse({})),
    formatYaml(cloudcoreConfigSchema.parse({})),
    'a: &a [x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nd: [*c, *c, *c]\n',
    'modules:\n  edgeHub: {heartbeat: 15}\n  ? [complex, key]\n  : !!binary aGVsbG8=\n',
  ];
  return {
    name: 'config files',
    share: 0.01,
    atOnce: 1,
    run(chaos) {
      const text = chaos.chance(0.2) ? chaos.json({ modules: {} }) : chaos.text(chaos.pick(good));
      const edge = verdictOf(() => parseConfig(text, 'edgecore.yaml', edgecoreFormat));
      const cloud = verdictOf(() => parseConfig(text, 'cloudcore.yaml', cloudcoreConfigFormat));
      return edge === 'taken' || cloud === 'taken' ? 'taken' : 'refused';
    },
  };
}
