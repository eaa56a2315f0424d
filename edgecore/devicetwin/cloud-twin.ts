/**
 * A twin as a cloud says it (`twin/cloud_updated`), decided purely. Each side counts its writes at cloud and edge; what
 * the cloud says holds when it has seen all that was written here. Where it has not, the edge's value stays and goes
 * up. Our cloud never says it: there a wish is the spec's.
 */

import type { TwinEntryBody, TwinSide, TwinUpdate, TwinVersion } from '#protocol/twin.ts';
import type { Device, Property, Side } from '../store/twin-store.ts';
import { deletedType, deltaReplies, documentReply } from './bodies.ts';
import { ignored, type Moment, type Outcome } from './outcome.ts';
import { isKey, isValue, typeMismatch } from './validation.ts';

export function syncTwin(known: Device | undefined, id: string, update: TwinUpdate, moment: Moment): Outcome {
  if (known === undefined) return ignored(`twin of ${id} from the cloud: no such device`);
  const twin = new Map(known.twin);
  const taken: string[] = [];
  const conflicts: string[] = [];
  const notes: string[] = [];
  for (const [name, entry] of Object.entries(update.twin ?? {})) {
    const was = twin.get(name);
    const next = entry === null ? 'the entry is null' : merge(was, name, entry, moment);
    if (typeof next === 'string') {
      notes.push(`${id} ${name} from the cloud: ${next}`);
      if (was !== undefined) conflicts.push(name);
      continue;
    }
    twin.set(name, next);
    taken.push(name);
  }
  if (taken.length === 0 && conflicts.length === 0)
    return { ...ignored(`twin of ${id}: nothing taken`), notes };
  const device: Device = { ...known, twin };
  return {
    change: {
      deviceId: id,
      device,
      row: false,
      properties: taken,
      marks: conflicts.map((name) => ({ kind: 'twin', name })),
    },
    replies:
      taken.length === 0
        ? []
        : [
            documentReply(known, device, taken, update.event_id ?? moment.newEventId(), moment),
            ...deltaReplies(device, moment),
          ],
    refused: [],
    notes,
  };
}

/** A text is the reason why nothing of the key is taken. */
function merge(
  was: Property | undefined,
  name: string,
  entry: TwinEntryBody,
  moment: Moment,
): Property | string {
  if (!isKey(name)) return 'that is no key';
  const fresh = was === undefined || was.type === deletedType;
  const asked = entry.metadata?.type;
  const isDeletion = asked === deletedType;
  const type = isDeletion ? deletedType : fresh ? ((was?.declaredType || asked) ?? 'string') : was.type;
  const expected = side(was?.expected, entry.expected, entry.expected_version, { type, moment, isDeletion });
  if (typeof expected === 'string') return expected;
  const actual = side(was?.actual, entry.actual, entry.actual_version, { type, moment, isDeletion });
  if (typeof actual === 'string') return actual;
  return {
    expected,
    actual,
    optional: (fresh || was.optional) && entry.optional !== false,
    type,
    declaredType: was?.declaredType,
    appliedDesired: was?.appliedDesired,
  };
}

function side(
  was: Side | undefined,
  said: TwinSide | null | undefined,
  version: TwinVersion | null | undefined,
  {
    type,
    moment,
    isDeletion,
  }: { readonly type: string; readonly moment: Moment; readonly isDeletion: boolean },
): Side | string | undefined {
  const value = isDeletion && was !== undefined ? '' : said?.value;
  if (value === undefined) return was;
  if (!version) return 'version not allowed be nil while syncing';
  if (was !== undefined && (was.version.cloud > version.cloud || was.version.edge > version.edge))
    return 'the edge has written since';
  if (!isValue(value)) return 'that is no value';
  const { cloud, edge } = version;
  return typeMismatch(type, value) ?? { value, timestampMs: moment.nowMs, version: { cloud, edge } };
}
