/** Rows of upstream.ts for a node's own Node and Lease. */

import { z } from 'zod';
import type { ObjectRef } from '#cloudcore/kube/kube-api.ts';
import { leaseSchema } from '#protocol/resources/lease.ts';
import { nodeSchema } from '#protocol/resources/node.ts';
import { readContent, readPatch } from './patch-text.ts';
import type { Request, Row } from './request.ts';

const nodes = { apiVersion: 'v1', plural: 'nodes' };
const leases = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };

/** Labels by which operators fence nodes in; a node must not give them to itself. */
const restrictedLabelPrefix = 'node-restriction.kubernetes.io/';

const legacyStatus = z.looseObject({ Status: z.looseObject({}) });

export const nodeRows: Readonly<Record<string, Row>> = {
  'node/insert': {
    form: 'objectResp',
    async run({ path, content }, { api }) {
      const node = readContent(nodeSchema, content, 'Node');
      return await api.create(nodes, nodeToCreate(path.name, node));
    },
    // The edge looks for the existing Node in its own store, where it is only after this (wire 6.4).
    after({ node }, { downstream }, failure) {
      if (failure?.reason === 'AlreadyExists') downstream.registeredAgain(node);
    },
  },
  'node/query': {
    form: 'bare',
    run: async ({ path }, { api }) => await api.get({ ...nodes, name: path.name }),
  },
  'node/update': {
    form: 'ok',
    async run({ path, content }, { api }) {
      const { labels, annotations } = readContent(nodeSchema, content, 'Node').metadata;
      const metadata = { labels: ownLabels(labels), annotations: annotations ?? {} };
      return await api.patch({ ...nodes, name: path.name }, 'merge', { metadata });
    },
  },
  'nodepatch/patch': {
    form: 'objectResp',
    reports: 'node',
    async run({ path, content }, { api }) {
      const patch = readPatch(content);
      return await api.patch({ ...nodes, name: path.name }, 'strategic', patch, { subresource: 'status' });
    },
  },
  'nodestatus/insert': {
    form: 'ok',
    async run({ path, content }, { api }) {
      return await api.create(nodes, nodeToCreate(path.name, readContent(nodeSchema, content, 'Node')));
    },
  },
  'nodestatus/update': {
    form: 'ok',
    async run({ path, content }, { api }) {
      const { Status: status } = readContent(legacyStatus, content, 'node status');
      return await api.patch(
        { ...nodes, name: path.name },
        'strategic',
        { status },
        { subresource: 'status' },
      );
    },
  },
  'lease/query': {
    form: 'objectResp',
    run: async (request, { api }) => await api.get(leaseRef(request)),
  },
  'lease/insert': {
    form: 'objectResp',
    async run(request, { api }) {
      const { name, ...collection } = leaseRef(request);
      return await api.create(collection, leaseOf(request, name));
    },
  },
  'lease/update': {
    form: 'objectResp',
    async run(request, { api }) {
      const ref = leaseRef(request);
      return await api.replace(ref, leaseOf(request, ref.name));
    },
  },
};

function leaseRef({ path }: Request): ObjectRef {
  return { ...leases, namespace: path.namespace, name: path.name };
}

function leaseOf({ path, content }: Request, name: string): object {
  const lease = readContent(leaseSchema, content, 'Lease');
  const metadata = { ...lease.metadata, name, namespace: path.namespace };
  return { ...lease, apiVersion: leases.apiVersion, kind: 'Lease', metadata };
}

function nodeToCreate(name: string, node: z.infer<typeof nodeSchema>): object {
  const { uid: _uid, resourceVersion: _version, creationTimestamp: _time, ...metadata } = node.metadata;
  return {
    ...node,
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { ...metadata, name, labels: ownLabels(metadata.labels) },
  };
}

function ownLabels(labels: Readonly<Record<string, string>> | null | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels ?? {}).filter(([key]) => !key.startsWith(restrictedLabelPrefix)),
  );
}
