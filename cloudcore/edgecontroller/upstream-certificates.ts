/**
 * Rows of upstream.ts for the certificate by which a KubeEdge edge serves its MetaServer (wire 4.4, 7.3). The node may
 * ask under one name and for one signer only; what it asks is approved when it says no more than the node is.
 */

import { isIP } from 'node:net';
import { z } from 'zod';
import { isAlreadyExists, KubeError } from '#cloudcore/kube/kube-api.ts';
import type { ObjectCache } from '#cloudcore/kube/objects.ts';
import { nodeSchema } from '#protocol/resources/node.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { readContent } from './patch-text.ts';
import { badRequest, type Request, type Row, type UpstreamComponents } from './request.ts';

/** What a PKCS#10 request asks for; its sender proved to own the key. */
export interface RequestedCertificate {
  readonly commonNames: readonly string[];
  readonly organisations: readonly string[];
  /** Alternative names by type, as written there. */
  readonly dnsNames: readonly string[];
  readonly addresses: readonly string[];
  /** Mail addresses, URIs and whatever else. */
  readonly otherNames: number;
}

/** @throws HawserError for what is no PKCS#10 request in PEM */
export type ReadCertificateRequest = (pem: string) => Promise<RequestedCertificate>;

export const servingSigner = 'kubernetes.io/kubelet-serving';
const requests = { apiVersion: 'certificates.k8s.io/v1', plural: 'certificatesigningrequests' };

/** The only name under which a node may ask. */
export function requestNameOf(node: string): string {
  return `metaserver-csr-${node}`;
}

const csrSchema = z.looseObject({
  metadata: z.looseObject({}).optional(),
  spec: z.looseObject({
    request: z.string(),
    signerName: z.string(),
    usages: z.array(z.string()),
    expirationSeconds: z.number().optional(),
  }),
});

const servingUsages: ReadonlySet<string> = new Set(['digital signature', 'key encipherment', 'server auth']);

/** Addresses on which a MetaServer listens: its own machine, and the one that pods reach it by. */
const localNames: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1', '169.254.30.10']);

export const certificateRows: Readonly<Record<string, Row>> = {
  'certificatesigningrequest/insert': {
    form: 'objectResp',
    async run(request, components) {
      const { spec } = readContent(csrSchema, request.content, 'CertificateSigningRequest');
      if (spec.signerName !== servingSigner) throw badRequest(`edges ask ${servingSigner} only`);
      const { request: pem, signerName, usages, expirationSeconds } = spec;
      const kept = {
        request: pem,
        signerName,
        usages,
        ...(expirationSeconds === undefined ? {} : { expirationSeconds }),
      };
      const made = await createAnew(request, kept, components);
      return (await approve(request, made, components)) ?? made;
    },
  },
  'certificatesigningrequest/query': {
    form: 'bare',
    async run({ path }, { api }) {
      const found = await api.get({ ...requests, name: path.name });
      return { ...found, apiVersion: requests.apiVersion, kind: 'CertificateSigningRequest' };
    },
  },
};

/** A request of an earlier run is about a key that the edge no longer has. */
async function createAnew({ path }: Request, spec: object, { api }: UpstreamComponents): Promise<KubeObject> {
  const object = {
    apiVersion: requests.apiVersion,
    kind: 'CertificateSigningRequest',
    metadata: { name: path.name },
    spec,
  };
  try {
    return await api.create(requests, object);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
  await api.delete({ ...requests, name: path.name });
  return await api.create(requests, object);
}

/** What is not approved here waits for an operator, as any request does. */
async function approve(
  { node, path }: Request,
  made: KubeObject,
  { api, cache, log, clock, readCertificateRequest }: UpstreamComponents,
): Promise<KubeObject | undefined> {
  const { spec } = csrSchema.parse(made);
  const pem = Buffer.from(spec.request, 'base64').toString('latin1');
  try {
    const reason = objection(node, await readCertificateRequest(pem), spec.usages, cache);
    if (reason !== undefined) {
      log.warn(
        { node, request: path.name, reason },
        'a certificate request of an edge waits for an operator',
      );
      return undefined;
    }
    const approved = {
      type: 'Approved',
      status: 'True',
      reason: 'EdgeNode',
      message: 'asked by the node itself for its MetaServer',
      lastUpdateTime: new Date(clock.now()).toISOString(),
    };
    const object = { ...made, status: { conditions: [approved] } };
    return await api.replace({ ...requests, name: path.name }, object, { subresource: 'approval' });
  } catch (error) {
    if (error instanceof KubeError) throw error;
    log.warn({ node, request: path.name, err: error }, 'a certificate request of an edge cannot be read');
    return undefined;
  }
}

/** Why it is not the node's to have. Undefined: it may be approved. */
function objection(
  node: string,
  { commonNames, organisations, dnsNames, addresses, otherNames }: RequestedCertificate,
  usages: readonly string[],
  cache: Pick<ObjectCache, 'get'>,
): string | undefined {
  if (commonNames.length !== 1 || commonNames[0] !== `system:node:${node}`)
    return 'its name is not the node’s';
  if (organisations.length !== 1 || organisations[0] !== 'system:nodes')
    return 'its organisation is not system:nodes';
  if (!usages.every((usage) => servingUsages.has(usage))) return 'it is not for serving only';
  const own = new Set([...localNames, node, ...addressesOf(node, cache)]);
  const foreign = [...dnsNames, ...addresses].find((one) => !own.has(one));
  if (foreign !== undefined) return `"${foreign.slice(0, 100)}" is no address of the node`;
  return otherNames === 0 ? undefined : 'it asks for more than names and addresses';
}

function addressesOf(node: string, cache: Pick<ObjectCache, 'get'>): string[] {
  const { data } = nodeSchema.safeParse(cache.get('node', undefined, node));
  const all = z
    .array(z.looseObject({ address: z.string() }))
    .catch([])
    .parse(data?.status?.addresses);
  // A node says its addresses itself: names among them could be anybody's.
  return all.map(({ address }) => address).filter((address) => isIP(address) !== 0);
}
