/**
 * SyncController: keeps the delivery ledger in the API as ObjectSyncs and ClusterObjectSyncs, the way KubeEdge
 * does, so that either cloudcore can go on where the other stopped. A note is made before its object is sent; only a
 * pod and the Node go first when the API is slow, and the note follows. Acknowledged versions are written later, the
 * last one of each object once in a while. What is sent to whom is decided elsewhere.
 */

import { setMaxListeners } from 'node:events';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Module } from '#beehive/module.ts';
import type { Random } from '#beehive/random.ts';
import type { DeliveryLedger } from '#cloudcore/kube/delivery-ledger.ts';
import type { HeldVersion } from '#cloudcore/kube/difference.ts';
import { type Delta, Informer } from '#cloudcore/kube/informer.ts';
import {
  isAlreadyExists,
  isNotFound,
  type KubeApi,
  KubeError,
  type ObjectRef,
} from '#cloudcore/kube/kube-api.ts';
import type { ObjectCache } from '#cloudcore/kube/objects.ts';
import { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import { CancelledError } from '#protocol/errors.ts';
import { formatObjectPath, type ObjectPath } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import type { SessionKind } from '#protocol/session.ts';
import { MovedNodes, movedLimits } from './moved-nodes.ts';
import { type Entry, keyOf, NoteStore, newEntry } from './note-store.ts';
import {
  clusterSyncs,
  isNoted,
  namespacedSyncs,
  neverAcknowledged,
  nodeOfSync,
  readSync,
  syncObject,
  syncRef,
} from './sync-objects.ts';
import { type Turn, Turns } from './turns.ts';

export const syncLimits = {
  /**
   * How long an object waits for its note. An API that takes longer has more to do than it can, often because of the
   * pods that are just being created; they must not wait for their notes on top. A pod that is sent unnoted and deleted
   * before cloudcore is back, should it be killed in that moment, goes with the edge's next report (upstream-pods.ts).
   * Of other objects nothing would tell: they wait until the note is there, and their notes are made before those of pods.
   */
  noteWaitMs: 100,
  /** Notes that are made at once: more keep all else that is asked of the API waiting, the creations themselves first. */
  notesAtOnceMax: 2,
  /** How long a stop waits for the notes of what has been sent. */
  stopWaitMs: 3_000,
  /** An object that is sent is soon acknowledged, and often changed again: one write says both. */
  settleMs: 1_000,
  /** At most one write an object in this time: a node's heartbeat comes back to it as a change each time. */
  writeEveryMs: 10_000,
  /** Notes that were deleted here and may still be announced by a watch that runs behind. */
  goneMax: 4_096,
} as const;

export interface SyncControllerComponents {
  readonly api: KubeApi;
  /** Run by the composition root. */
  readonly cache: Pick<ObjectCache, 'get' | 'onChange' | 'whenSynced' | 'checkCluster'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

interface Removal {
  readonly ref: ObjectRef;
  /** `<node> <path>` */
  readonly at: string | undefined;
  readonly syncUid: string | undefined;
  /** When its note was still being made. */
  readonly recording: Promise<void> | undefined;
  running: Promise<void> | undefined;
}

const name = 'synccontroller';
const retry = { firstMs: 500, maxMs: 30_000 };

/** May be sent before they are noted: the edge's reports show that it has them. */
const reported: ReadonlySet<string> = new Set(['pod', 'node']);

export class SyncController implements Module, DeliveryLedger {
  readonly name = name;
  readonly #components: SyncControllerComponents;
  readonly #log: Log;
  readonly #informers: readonly Informer[];
  readonly #notes = new NoteStore();
  readonly #removals = new Map<string, Removal>();
  /** `<node> <path>` → key of the note that has to go before another about the path is made. */
  readonly #removalAt = new Map<string, string>();
  readonly #gone = new Set<string>();
  readonly #turns = new Turns(syncLimits.notesAtOnceMax);
  readonly #recording = new Set<Promise<void>>();
  readonly #writes: WorkQueue;
  readonly #nodes: WorkQueue;
  readonly #moved: MovedNodes;
  readonly #lost: ((node: string, path: string) => void)[] = [];
  #synced = false;
  #syncWaiters: (() => void)[] = [];
  #signal: AbortSignal = AbortSignal.abort();

  constructor(components: SyncControllerComponents) {
    const { cache, log } = components;
    this.#components = components;
    this.#log = log.child({ module: name });
    const parts = { ...components, log: this.#log };
    this.#informers = [namespacedSyncs, clusterSyncs].map((ref) => {
      const informer = new Informer({ ref, trim }, { ...parts, checkSource: () => cache.checkCluster() });
      informer.onDelta((delta) => this.#take(delta));
      return informer;
    });
    // Few: nobody waits for these, and pods that are created at the same moment need the API more.
    this.#writes = new WorkQueue({ name: 'objectsyncs', workersMax: 2, retry }, parts);
    this.#nodes = new WorkQueue({ name: 'nodes with objectsyncs', workersMax: 4, retry }, parts);
    this.#moved = new MovedNodes({
      ...parts,
      hasNotes: (node) => this.#notes.of(node).size > 0,
      dropNotes: (node) => this.#dropAll(node),
    });
    cache.onChange(({ kind, type, object }) => {
      if (kind === 'node' && type === 'deleted') this.#nodes.add(object.metadata.name);
    });
  }

  async run(daemonSignal: AbortSignal, ready: () => void): Promise<void> {
    // All that waits listens to it, and Node would warn of so many listeners on the daemon's.
    const stop = new AbortController();
    const { signal } = stop;
    setMaxListeners(0, signal);
    daemonSignal.addEventListener('abort', () => stop.abort(), { once: true });
    if (daemonSignal.aborted) stop.abort();
    this.#signal = signal;
    ready();
    await Promise.all([
      ...this.#informers.map((informer) => informer.run(signal)),
      this.#load(signal),
      this.#writes.run((key, over) => this.#write(key, over), signal),
      this.#nodes.run((node) => this.#checkNode(node), signal),
      this.#checkNowAndThen(signal),
    ]);
    await this.#isDoneWithin(syncLimits.stopWaitMs, Promise.allSettled(this.#recording));
  }

  get synced(): boolean {
    return this.#synced;
  }

  async whenSynced(signal: AbortSignal): Promise<void> {
    if (this.#synced || signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#syncWaiters.push(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  served(node: string, kind: SessionKind): void {
    this.#moved.served(node, kind);
    if (this.#synced) this.#nodes.add(node);
  }

  onLost(handler: (node: string, path: string) => void): void {
    this.#lost.push(handler);
  }

  heldBy(node: string): ReadonlyMap<string, HeldVersion> {
    return new Map([...this.#notes.of(node)].map(([path, { uid, version }]) => [path, { uid, version }]));
  }

  async intend(node: string, path: ObjectPath, uid: string): Promise<void> {
    if (!isNoted(path)) return;
    const text = formatObjectPath(path);
    const before = this.#notes.at(node, text);
    if (before !== undefined && before.uid !== uid) this.removed(node, path, before.uid);
    const removal = this.#removalAt.get(`${node} ${text}`);
    // One note a path: else nobody could tell after a restart which of two objects the edge has.
    if (removal !== undefined) await this.#remove(removal);
    const entry = this.#notes.at(node, text) ?? this.#add(newEntry({ node, path, uid, version: '' }));
    const mayGoFirst = reported.has(path.type);
    entry.recording ??= this.#record(entry, mayGoFirst ? 'in turn' : 'before others');
    const { recording } = entry;
    try {
      const waitMs = mayGoFirst ? syncLimits.noteWaitMs : undefined;
      if (await this.#isDoneWithin(waitMs, recording)) return;
    } catch (error) {
      entry.recording = undefined;
      if (entry.version === '' && !entry.owed) this.#notes.delete(entry);
      throw error;
    }
    entry.owed = true;
    recording.catch(() => {
      entry.recording = undefined;
      this.#writes.add(keyOf(entry));
    });
  }

  acknowledged(node: string, path: ObjectPath, uid: string, version: string): void {
    const entry = this.#notes.at(node, formatObjectPath(path));
    if (entry === undefined || entry.uid !== uid || entry.version === version) return;
    entry.version = version;
    this.#schedule(entry);
  }

  removed(node: string, path: ObjectPath, uid: string): void {
    const entry = this.#notes.at(node, formatObjectPath(path));
    if (entry?.uid === uid) this.#drop(entry);
  }

  unsure(node: string): void {
    for (const entry of this.#notes.of(node).values()) {
      entry.version = '';
      this.#tellLost(entry);
    }
  }

  /** Reads what earlier runs left; nodes that are no more lose theirs. */
  async #load(signal: AbortSignal): Promise<void> {
    await this.#components.cache.whenSynced(signal, ['node']);
    await Promise.race([
      Promise.all(this.#informers.map((informer) => informer.whenSynced())),
      new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
    ]);
    if (signal.aborted) return;
    this.#synced = true;
    for (const wake of this.#syncWaiters.splice(0)) wake();
    for (const informer of this.#informers) {
      for (const object of informer.list()) this.#checkNodeOf(object);
    }
    for (const node of this.#notes.nodes()) this.#nodes.add(node);
  }

  async #checkNowAndThen(signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        await this.#components.clock.sleep(movedLimits.checkEveryMs, signal);
      } catch (error) {
        if (error instanceof CancelledError) return;
        throw error;
      }
      for (const node of this.#notes.nodes()) this.#nodes.add(node);
    }
  }

  #take({ type, object }: Delta): void {
    const note = readSync(object);
    const syncUid = object.metadata.uid ?? '';
    if (type === 'added') {
      if (this.#gone.delete(syncUid)) return;
      if (this.#synced) this.#checkNodeOf(object);
      if (note === undefined || this.#notes.get(keyOf(note)) || this.#removals.has(keyOf(note))) return;
      this.#add({
        ...newEntry(note),
        recording: Promise.resolve(),
        syncUid,
        written: statusOf(note.version),
      });
      return;
    }
    const entry = note === undefined ? undefined : this.#notes.get(keyOf(note));
    if (type !== 'deleted' || entry === undefined) return;
    if (entry.syncUid !== undefined && entry.syncUid !== syncUid) return;
    Object.assign(entry, { recording: undefined, syncUid: undefined, written: undefined, version: '' });
    this.#tellLost(entry);
  }

  #tellLost({ node, path }: Entry): void {
    for (const handler of this.#lost) handler(node, formatObjectPath(path));
  }

  #add(entry: Entry): Entry {
    const loser = this.#notes.put(entry);
    if (loser !== undefined) this.#queueRemoval(loser);
    return entry;
  }

  #drop(entry: Entry): void {
    this.#notes.delete(entry);
    this.#queueRemoval(entry);
  }

  #queueRemoval(entry: Entry): void {
    const { recording, syncUid } = entry;
    if (recording === undefined) return;
    const key = keyOf(entry);
    const at = `${entry.node} ${formatObjectPath(entry.path)}`;
    this.#removals.set(key, { ref: syncRef(entry), at, recording, syncUid, running: undefined });
    this.#removalAt.set(at, key);
    this.#writes.add(key);
  }

  #checkNodeOf(object: KubeObject): void {
    const node = nodeOfSync(object);
    if (node !== undefined && this.#components.cache.get('node', undefined, node) === undefined)
      this.#nodes.add(node);
  }

  async #checkNode(node: string): Promise<void> {
    if (!this.#synced) return;
    await this.#forgetUnknown(node);
    await this.#moved.check(node);
  }

  #dropAll(node: string): void {
    for (const entry of [...this.#notes.of(node).values()]) this.#drop(entry);
  }

  /** Asked again of the API itself: the cache may not have heard of a new node yet. */
  async #forgetUnknown(node: string): Promise<void> {
    const { api, cache } = this.#components;
    if (cache.get('node', undefined, node) !== undefined) return;
    try {
      await api.get({ apiVersion: 'v1', plural: 'nodes', name: node });
      return;
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    this.#dropAll(node);
    for (const informer of this.#informers) {
      for (const object of informer.list()) {
        if (nodeOfSync(object) !== node) continue;
        const { name: syncName, namespace, uid: syncUid } = object.metadata;
        const ref = { ...(namespace === undefined ? clusterSyncs : namespacedSyncs), namespace };
        const removal = {
          ref: { ...ref, name: syncName },
          syncUid,
          recording: undefined,
          running: undefined,
        };
        const key = `${namespace ?? ''}/${syncName}`;
        if (!this.#removals.has(key)) this.#removals.set(key, { ...removal, at: undefined });
        this.#writes.add(key);
      }
    }
  }

  #record(entry: Entry, when: Turn): Promise<void> {
    const recording = this.#turns.take(() => this.#create(entry), when);
    this.#recording.add(recording);
    const done = () => this.#recording.delete(recording);
    recording.then(done, done);
    return recording;
  }

  async #create(entry: Entry): Promise<void> {
    const { name: _, ...collection } = syncRef(entry);
    try {
      const made = await this.#components.api.create(collection, syncObject(entry));
      entry.syncUid = made.metadata.uid;
    } catch (error) {
      if (!isAlreadyExists(error)) {
        // A namespace that is going takes no new objects; its pods must still be told that they end.
        if (!(error instanceof KubeError) || error.retry !== 'never') throw error;
        entry.recordable = false;
        this.#log.warn(
          { node: entry.node, path: entry.path, reason: error.message },
          'cannot note a delivery',
        );
      }
    }
    entry.owed = false;
    this.#schedule(entry);
  }

  /** @throws what the work does, if it does so in time; CancelledError when it has no time and this stops */
  async #isDoneWithin(ms: number | undefined, work: Promise<unknown>): Promise<boolean> {
    let cancel = () => {};
    const late = new Promise<false>((resolve, reject) => {
      if (ms !== undefined) {
        cancel = this.#components.clock.after(ms, () => resolve(false));
        return;
      }
      const stopped = () => reject(new CancelledError());
      this.#signal.addEventListener('abort', stopped, { once: true });
      cancel = () => this.#signal.removeEventListener('abort', stopped);
      if (this.#signal.aborted) stopped();
    });
    try {
      return await Promise.race([work.then(() => true as const), late]);
    } finally {
      cancel();
    }
  }

  #schedule(entry: Entry): void {
    if (entry.scheduled || !entry.recordable || this.#signal.aborted) return;
    entry.scheduled = true;
    const { clock } = this.#components;
    const nowMs = clock.monotonicMs();
    const dueMs = Math.max(nowMs + syncLimits.settleMs, entry.lastWriteMs + syncLimits.writeEveryMs);
    void clock.sleep(dueMs - nowMs, this.#signal).then(
      () => this.#writes.add(keyOf(entry)),
      // Stopping: the next run sends that object once more.
      () => {},
    );
  }

  async #write(key: string, signal: AbortSignal): Promise<void> {
    if (this.#removals.has(key)) return await this.#remove(key);
    const entry = this.#notes.get(key);
    if (entry === undefined) return;
    entry.scheduled = false;
    if (entry.owed) await this.#recordAgain(entry);
    const wanted = statusOf(entry.version);
    if (entry.written === wanted || !entry.recordable || entry.recording === undefined) return;
    await entry.recording;
    const status = { status: { objectResourceVersion: wanted } };
    const made = await this.#components.api.patch(syncRef(entry), 'merge', status, {
      subresource: 'status',
      signal,
    });
    entry.syncUid = made.metadata.uid;
    entry.written = wanted;
    entry.lastWriteMs = this.#components.clock.monotonicMs();
  }

  async #recordAgain(entry: Entry): Promise<void> {
    entry.recording ??= this.#record(entry, 'in turn');
    try {
      await entry.recording;
    } catch (error) {
      entry.recording = undefined;
      throw error;
    }
  }

  /** Shared by all who wait for it: a second deletion could hit the note that came after. */
  async #remove(key: string): Promise<void> {
    const removal = this.#removals.get(key);
    if (removal === undefined) return;
    removal.running ??= this.#delete(removal);
    try {
      await removal.running;
    } catch (error) {
      removal.running = undefined;
      throw error;
    }
    this.#removals.delete(key);
    if (removal.at !== undefined && this.#removalAt.get(removal.at) === key)
      this.#removalAt.delete(removal.at);
  }

  async #delete({ ref, syncUid, recording }: Removal): Promise<void> {
    await recording?.catch(() => {});
    try {
      await this.#components.api.delete(ref, { signal: this.#signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    if (syncUid === undefined) return;
    this.#gone.add(syncUid);
    for (const oldest of this.#gone) {
      if (this.#gone.size <= syncLimits.goneMax) break;
      this.#gone.delete(oldest);
    }
  }
}

function statusOf(version: string): string {
  return version === '' ? neverAcknowledged : version;
}

function trim({ metadata, spec, status }: KubeObject): KubeObject {
  const { name: syncName, namespace, uid, resourceVersion } = metadata;
  return {
    metadata: { name: syncName, ...(namespace === undefined ? {} : { namespace }), uid, resourceVersion },
    spec,
    status,
  };
}
