/**
 * The notes that are known, in memory: one for each object path of a node. A second note about a path (KubeEdge
 * leaves one behind when an object takes another's name) loses against the one with the newer version.
 */

import { formatObjectPath } from '#protocol/resource-path.ts';
import { isNewer, type Note, syncRef } from './sync-objects.ts';

export interface Entry extends Note {
  version: string;
  /** Settled once the note is in the API; undefined while it is in none. */
  recording: Promise<void> | undefined;
  /** The object was sent before its note was made. */
  owed: boolean;
  /** False: the API takes no note about it, it is kept here only. */
  recordable: boolean;
  /** Of the note itself. */
  syncUid: string | undefined;
  /** What its status says. */
  written: string | undefined;
  lastWriteMs: number;
  scheduled: boolean;
}

export class NoteStore {
  readonly #byKey = new Map<string, Entry>();
  readonly #byNode = new Map<string, Map<string, Entry>>();

  get(key: string): Entry | undefined {
    return this.#byKey.get(key);
  }

  at(node: string, path: string): Entry | undefined {
    return this.#byNode.get(node)?.get(path);
  }

  of(node: string): ReadonlyMap<string, Entry> {
    return this.#byNode.get(node) ?? new Map<string, Entry>();
  }

  nodes(): readonly string[] {
    return [...this.#byNode.keys()];
  }

  /** Returns the note that had to go for it, which may be the new one itself. */
  put(entry: Entry): Entry | undefined {
    const path = formatObjectPath(entry.path);
    const before = this.at(entry.node, path);
    if (before !== undefined && before.uid !== entry.uid && !isNewer(entry.version, before.version))
      return entry;
    if (before !== undefined) this.delete(before);
    this.#byKey.set(keyOf(entry), entry);
    const notes = this.#byNode.get(entry.node) ?? new Map<string, Entry>();
    this.#byNode.set(entry.node, notes.set(path, entry));
    return before;
  }

  delete(entry: Entry): void {
    this.#byKey.delete(keyOf(entry));
    const notes = this.#byNode.get(entry.node);
    notes?.delete(formatObjectPath(entry.path));
    if (notes?.size === 0) this.#byNode.delete(entry.node);
  }
}

export function keyOf(note: Pick<Note, 'node' | 'path' | 'uid'>): string {
  const { namespace, name } = syncRef(note);
  return `${namespace ?? ''}/${name}`;
}

export function newEntry(note: Note): Entry {
  return {
    ...note,
    recording: undefined,
    owed: false,
    recordable: true,
    syncUid: undefined,
    written: undefined,
    lastWriteMs: Number.NEGATIVE_INFINITY,
    scheduled: false,
  };
}
