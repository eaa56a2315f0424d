/**
 * Mappers as they are stored, in KubeEdge's row (table meta) with KubeEdge's fields; beside them, of our own, what
 * each was told last, so that a restart of the edge tells a mapper only what has changed.
 */

import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { MetaStore } from '../../store/meta-store.ts';

export interface MapperRow {
  readonly name: string;
  readonly version: string;
  readonly apiVersion: string;
  readonly protocol: string;
  /** The path of its socket. */
  readonly address: string;
  readonly state: string;
  /** Counts registrations: of mappers of one protocol the last is the one that serves. */
  readonly registration: number;
  /** `device ns/name` or `model ns/name` to the digest of what was told. */
  readonly told: ReadonlyMap<string, string>;
  /** Of devices that are `unknown` because the mapper is away: what they had said before. */
  readonly statesBefore: ReadonlyMap<string, string>;
}

const type = 'devicemapper';
/** The first words are literal in KubeEdge. */
const prefix = `node/nodeID/namespace/${type}/`;

const texts = z.record(z.string(), z.string()).default({});
const storedSchema = z.looseObject({
  name: z.string(),
  version: z.string().default(''),
  api_version: z.string().default(''),
  protocol: z.string(),
  address: z.string().default(''),
  state: z.string().default(''),
  registration: z.number().default(0),
  told: texts,
  statesBefore: texts,
});

export function loadMappers(meta: MetaStore): MapperRow[] {
  return meta
    .read((rows) => rows.list(type))
    .flatMap(({ value }) => {
      const parsed = storedSchema.safeParse(value);
      if (!parsed.success) return [];
      const { api_version: apiVersion, address, told, statesBefore, ...row } = parsed.data;
      return [
        {
          ...row,
          apiVersion,
          address: Buffer.from(address, 'base64').toString('utf8'),
          told: new Map(Object.entries(told)),
          statesBefore: new Map(Object.entries(statesBefore)),
        },
      ];
    });
}

/** Resolves after the commit. */
export function saveMapper(meta: MetaStore, row: MapperRow): Promise<void> {
  const value = {
    name: row.name,
    version: row.version,
    api_version: row.apiVersion,
    protocol: row.protocol,
    address: Buffer.from(row.address).toString('base64'),
    state: row.state,
    registration: row.registration,
    told: Object.fromEntries(row.told),
    statesBefore: Object.fromEntries(row.statesBefore),
  };
  const key = `${prefix}${row.name}`;
  return meta.write((rows) => rows.put({ key, type, value, uid: undefined, resourceVersion: undefined }));
}

export function digestOf(message: object): string {
  return createHash('sha256').update(JSON.stringify(message)).digest('base64url').slice(0, 22);
}
