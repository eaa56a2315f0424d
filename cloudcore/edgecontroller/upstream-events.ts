/** Rows of upstream.ts for events. Nobody waits for an answer to one, so none is sent. */

import { isNotFound, type ObjectRef } from '#cloudcore/kube/kube-api.ts';
import type { ObjectPath } from '#protocol/resource-path.ts';
import { eventPatchSchema, eventSchema } from '#protocol/resources/event.ts';
import { readContent, readPatch } from './patch-text.ts';
import { forbidden, type Request, type Row, type UpstreamComponents } from './request.ts';

const events = { apiVersion: 'v1', plural: 'events' };

export const eventRows: Readonly<Record<string, Row>> = {
  'event/insert': {
    form: 'none',
    run: (request, components) => create(request, request.content, components),
  },
  'event/update': {
    form: 'none',
    async run(request, { api }) {
      await checkOwner(request, { api });
      return await api.replace(eventRef(request.path), eventOf(request, request.content));
    },
  },
  'event/patch': {
    form: 'none',
    async run(request, components) {
      const { event, patchData } = readContent(eventPatchSchema, request.content, 'patch of an Event');
      const patch = readPatch(patchData);
      try {
        await checkOwner(request, components);
        return await components.api.patch(eventRef(request.path), 'strategic', patch);
      } catch (error) {
        if (!isNotFound(error)) throw error;
        // It aged out of the API meanwhile.
        const { resourceVersion: _version, uid: _uid, ...metadata } = event.metadata;
        return await create(request, { ...event, metadata }, components);
      }
    },
  },
};

async function create(request: Request, content: unknown, { api }: Pick<UpstreamComponents, 'api'>) {
  const { name: _, ...collection } = eventRef(request.path);
  return await api.create(collection, eventOf(request, content));
}

function eventOf({ path }: Request, content: unknown): object {
  const event = readContent(eventSchema, content, 'Event');
  const metadata = { ...event.metadata, name: path.name, namespace: path.namespace };
  return { ...event, apiVersion: 'v1', kind: 'Event', metadata };
}

/** That the new text names the node as its source does not make the stored event the node's. */
async function checkOwner({ node, path }: Request, { api }: Pick<UpstreamComponents, 'api'>): Promise<void> {
  const stored = eventSchema.safeParse(await api.get(eventRef(path))).data;
  if (stored?.source?.host !== node) throw forbidden(`event ${path.name} is not node "${node}"'s`);
}

function eventRef({ namespace, name = '' }: ObjectPath): ObjectRef {
  return { ...events, namespace, name };
}
