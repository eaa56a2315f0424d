/**
 * What every KubeApi does, whether it is in memory or a client of a real or the embedded API server.
 * Each run works in namespaces of its own and removes them.
 */

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeApi, WatchEvent } from '#cloudcore/kube/kube-api.ts';
import { isAlreadyExists, isConflict, isNotFound, KubeError } from '#cloudcore/kube/kube-api.ts';
import type { KubeObject } from '#protocol/resources/object.ts';

export function kubeApiSuite(name: string, open: () => Promise<{ api: KubeApi; close?: () => void }>): void {
  describe(name, () => {
    const namespace = `suite-${randomUUID().slice(0, 8)}`;
    const maps = { apiVersion: 'v1', plural: 'configmaps', namespace };
    const pods = { apiVersion: 'v1', plural: 'pods', namespace };
    let api: KubeApi;
    let close: (() => void) | undefined;

    beforeAll(async () => {
      ({ api, close } = await open());
      await api.create({ apiVersion: 'v1', plural: 'namespaces' }, { metadata: { name: namespace } });
      const account = { metadata: { name: 'default' } };
      await api.create({ apiVersion: 'v1', plural: 'serviceaccounts', namespace }, account).catch((error) => {
        if (!isAlreadyExists(error)) throw error;
      });
    });
    afterAll(async () => {
      await api.delete({ apiVersion: 'v1', plural: 'namespaces', name: namespace });
      close?.();
    });

    const makeMap = (mapName: string, data: Record<string, string>, labels = {}) =>
      api.create(maps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: mapName, labels }, data });

    it('creates, gets, replaces and deletes, with uid and version', async () => {
      const made = await makeMap('crud', { a: '1' });
      expect(made).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap', data: { a: '1' } });
      expect(made.metadata.uid).toBeTruthy();
      const changed = await api.replace({ ...maps, name: 'crud' }, { ...made, data: { a: '2' } });
      expect(changed.metadata.resourceVersion).not.toBe(made.metadata.resourceVersion);
      expect(await api.get({ ...maps, name: 'crud' })).toMatchObject({ data: { a: '2' } });
      await api.delete({ ...maps, name: 'crud' });
      const error = await api.get({ ...maps, name: 'crud' }).catch((caught: unknown) => caught);
      expect(isNotFound(error)).toBe(true);
      if (!(error instanceof KubeError)) throw error;
      expect(error.status).toMatchObject({
        status: 'Failure',
        reason: 'NotFound',
        code: 404,
        message: 'configmaps "crud" not found',
      });
    });

    it('refuses a second object of a name, and a stale version', async () => {
      const made = await makeMap('once', { a: '1' });
      expect(isAlreadyExists(await makeMap('once', {}).catch((caught: unknown) => caught))).toBe(true);
      const ref = { ...maps, name: 'once' };
      await api.replace(ref, { ...made, data: { a: '2' } });
      const stale = await api.replace(ref, { ...made, data: { a: '3' } }).catch((caught: unknown) => caught);
      expect(isConflict(stale)).toBe(true);
    });

    it('names from generateName', async () => {
      const made = await api.create(maps, { metadata: { generateName: 'made-' } });
      expect(made.metadata.name).toMatch(/^made-.+/);
    });

    it('deletes only the uid that was meant', async () => {
      const made = await makeMap('uid', {});
      const ref = { ...maps, name: 'uid' };
      const other = { preconditions: { uid: randomUUID() } };
      expect(isConflict(await api.delete(ref, other).catch((caught: unknown) => caught))).toBe(true);
      await api.delete(ref, { preconditions: { uid: made.metadata.uid ?? '' } });
      expect(isNotFound(await api.delete(ref).catch((caught: unknown) => caught))).toBe(true);
    });

    it('patches: merge, json, strategic as text, apply creates', async () => {
      await makeMap('patched', { a: '1', b: '2' });
      const ref = { ...maps, name: 'patched' };
      const merged = await api.patch(ref, 'merge', { data: { a: null, c: '3' } });
      expect(merged.data).toEqual({ b: '2', c: '3' });
      const replaced = await api.patch(ref, 'json', [{ op: 'replace', path: '/data/b', value: '4' }]);
      expect(replaced.data).toEqual({ b: '4', c: '3' });
      const strategic = await api.patch(ref, 'strategic', '{"data":{"c":null}}');
      expect(strategic.data).toEqual({ b: '4' });
      const desired = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'applied' },
        data: { x: 'y' },
      };
      const applied = await api.patch({ ...maps, name: 'applied' }, 'apply', desired, {
        fieldManager: 'suite',
      });
      expect(applied.data).toEqual({ x: 'y' });
    });

    it('lists by labels and fields, in pages, and as metadata only', async () => {
      for (const n of [1, 2, 3]) await makeMap(`page-${n}`, { secret: 'body' }, { set: 'pages' });
      const page = await api.list(maps, { labelSelector: 'set=pages', limit: 2 });
      expect(page.items.map(({ kind, metadata }) => [kind, metadata.name])).toEqual([
        ['ConfigMap', 'page-1'],
        ['ConfigMap', 'page-2'],
      ]);
      const continueToken = page.continueToken ?? '';
      expect(continueToken).not.toBe('');
      const rest = await api.list(maps, { labelSelector: 'set=pages', limit: 2, continueToken });
      expect(rest.items.map(({ metadata }) => metadata.name)).toEqual(['page-3']);
      const one = await api.list(maps, { fieldSelector: 'metadata.name=page-2' });
      expect(one.items.map(({ metadata }) => metadata.name)).toEqual(['page-2']);
      const bare = await api.list(maps, { labelSelector: 'set=pages', metadataOnly: true });
      expect(bare.items).toHaveLength(3);
      for (const item of bare.items) expect(item.data).toBeUndefined();
    });

    it('watches from a version on, with selectors, until the signal ends it', async () => {
      const { resourceVersion } = await api.list(maps);
      const stop = new AbortController();
      const events = collect(
        api.watch(maps, { resourceVersion, labelSelector: 'set=watch', signal: stop.signal }),
        stop.signal,
      );
      const made = await makeMap('watched', { a: '1' }, { set: 'watch' });
      await makeMap('unwatched', {});
      await api.replace({ ...maps, name: 'watched' }, { ...made, data: { a: '2' } });
      await api.patch({ ...maps, name: 'watched' }, 'merge', { metadata: { labels: { set: 'other' } } });
      const seen = await events.atLeast(3);
      expect(seen.map(({ type, object }) => [type, object.metadata.name])).toEqual([
        ['ADDED', 'watched'],
        ['MODIFIED', 'watched'],
        ['DELETED', 'watched'],
      ]);
      stop.abort();
      await events.ended;
    });

    it('watches metadata only', async () => {
      const { resourceVersion } = await api.list(maps, { metadataOnly: true });
      const stop = new AbortController();
      const options = { resourceVersion, metadataOnly: true, signal: stop.signal };
      const events = collect(api.watch(maps, options), stop.signal);
      await makeMap('bare', { body: 'x' });
      const [event] = await events.atLeast(1);
      expect(event?.object.metadata.name).toBe('bare');
      expect(event?.object.data).toBeUndefined();
      stop.abort();
      await events.ended;
    });

    it('writes status by its subresource only, merging conditions strategically', async () => {
      const ref = { ...pods, name: 'state' };
      await api.create(pods, podOf('state', undefined));
      const patch = (type: string) => ({ status: { conditions: [{ type, status: 'True' }] } });
      await api.patch(ref, 'strategic', patch('Lost'));
      await api.patch(ref, 'strategic', patch('example.com/One'), { subresource: 'status' });
      const pod = await api.patch(ref, 'strategic', patch('example.com/Two'), { subresource: 'status' });
      const types = conditionTypes(pod);
      expect(types).toEqual(expect.arrayContaining(['example.com/One', 'example.com/Two']));
      expect(types).not.toContain('Lost');
      const wrongUid = { metadata: { uid: randomUUID() }, ...patch('Never') };
      const refused = await api
        .patch(ref, 'strategic', wrongUid, { subresource: 'status' })
        .catch((caught: unknown) => caught);
      expect(['conflict', 'invalid']).toContain(refused instanceof KubeError ? refused.code : '');
      await api.delete(ref, { gracePeriodSeconds: 0 });
    });

    it('deletes a bound pod gracefully, then for good', async () => {
      const ref = { ...pods, name: 'graceful' };
      await api.create(pods, podOf('graceful', 'suite-node'));
      await api.delete(ref, { gracePeriodSeconds: 5 });
      const marked = await api.get(ref);
      expect(marked.metadata.deletionTimestamp).toBeTruthy();
      await api.delete(ref, { gracePeriodSeconds: 0, preconditions: { uid: marked.metadata.uid ?? '' } });
      expect(isNotFound(await api.get(ref).catch((caught: unknown) => caught))).toBe(true);
    });

    it('issues service account tokens', async () => {
      const account = { namespace, name: 'default' };
      const request = {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        metadata: { creationTimestamp: null },
        spec: { audiences: null, expirationSeconds: 3607 },
      };
      const answer = await api.createToken(account, request);
      expect(answer.status).toMatchObject({
        token: expect.any(String),
        expirationTimestamp: expect.any(String),
      });
    });

    it('does not let a name climb out of its path', async () => {
      const caught = await api.get({ ...maps, name: '..' }).catch((error: unknown) => error);
      expect(caught).toBeInstanceOf(KubeError);
      expect(['invalid', 'notFound']).toContain(caught instanceof KubeError ? caught.code : '');
    });
  });
}

function podOf(name: string, nodeName: string | undefined): object {
  const containers = [{ name: 'main', image: 'none' }];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      ...(nodeName === undefined ? { nodeSelector: { nowhere: 'at-all' } } : { nodeName }),
      containers,
    },
  };
}

function conditionTypes(object: KubeObject): unknown[] {
  const { status } = object;
  if (typeof status !== 'object' || status === null || !('conditions' in status)) return [];
  return Array.isArray(status.conditions) ? status.conditions.map(({ type }) => type) : [];
}

/** Gathers events (bookmarks aside) and says when there are enough. */
function collect(events: AsyncIterable<WatchEvent>, signal: AbortSignal) {
  const seen: WatchEvent[] = [];
  let wake = () => {};
  const ended = (async () => {
    try {
      for await (const event of events) {
        if (event.type !== 'BOOKMARK') seen.push(event);
        wake();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  })();
  return {
    ended,
    async atLeast(count: number): Promise<readonly WatchEvent[]> {
      while (seen.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return seen;
    },
  };
}
