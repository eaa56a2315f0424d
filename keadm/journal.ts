/**
 * What init or join has made, written as it is made, so that reset removes that and nothing else, and so that
 * a second run finds its own work.
 */

import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';

const journalSchema = z.object({
  version: z.string(),
  role: z.enum(['cloud', 'edge']),
  /** Absolute paths of files and directories, in the order they were made. */
  paths: z.array(z.string()),
  /** Names of services, in the order they were started. */
  services: z.array(z.string()),
  /** Facts that a later command needs (node name, ports, the API in use). */
  facts: z.record(z.string(), z.string()),
});

export type JournalData = z.infer<typeof journalSchema>;

export class Journal {
  readonly #file: string;
  #data: JournalData;

  private constructor(file: string, data: JournalData) {
    this.#file = file;
    this.#data = data;
  }

  /** Undefined when nothing was set up there, or the file is not ours. */
  static async read(file: string): Promise<JournalData | undefined> {
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
    return journalSchema.parse(JSON.parse(text));
  }

  /** Goes on with the journal at `file`, or begins one. */
  static async open(file: string, role: JournalData['role'], version: string): Promise<Journal> {
    const before = await Journal.read(file);
    return new Journal(file, before ?? { version, role, paths: [], services: [], facts: {} });
  }

  get data(): Readonly<JournalData> {
    return this.#data;
  }

  addPath(path: string): Promise<void> {
    return this.#save({ paths: withItem(this.#data.paths, path) });
  }

  addService(name: string): Promise<void> {
    return this.#save({ services: withItem(this.#data.services, name) });
  }

  setFacts(facts: Record<string, string>): Promise<void> {
    return this.#save({ facts: { ...this.#data.facts, ...facts } });
  }

  async #save(change: Partial<JournalData>): Promise<void> {
    this.#data = { ...this.#data, ...change };
    await mkdir(dirname(this.#file), { recursive: true });
    await writeFile(`${this.#file}.new`, `${JSON.stringify(this.#data, null, 2)}\n`, { mode: 0o600 });
    await rename(`${this.#file}.new`, this.#file);
  }
}

export async function removeJournal(file: string): Promise<void> {
  await rm(file, { force: true });
}

function withItem(items: readonly string[], item: string): string[] {
  return items.includes(item) ? [...items] : [...items, item];
}
