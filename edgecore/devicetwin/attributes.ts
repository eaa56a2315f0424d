/** Attributes of a device: what the cloud says of it beside its twin. Decided purely; null takes one away. */

import { deviceTopic } from '#protocol/topics.ts';
import type { AttributeUpdate } from '#protocol/twin.ts';
import type { Attribute, Device } from '../store/twin-store.ts';
import { deletedType, sorted } from './bodies.ts';
import { ignored, type Moment, type Outcome, type Reply } from './outcome.ts';
import { isKey, isValue, typeMismatch } from './validation.ts';

const attributesMax = 256;

export interface AttributesChange {
  readonly device: Device;
  readonly changed: readonly string[];
  readonly replies: readonly Reply[];
}

/** What is malformed is left out: the cloud waits for no answer. */
export function withAttributes(
  device: Device,
  update: AttributeUpdate | null | undefined,
  moment: Moment,
): AttributesChange {
  const attributes = new Map(device.attributes);
  const news: [string, object | null][] = [];
  for (const [name, entry] of Object.entries(update ?? {})) {
    const known = attributes.get(name);
    if (entry === null || entry.metadata?.type === deletedType) {
      if (known === undefined) continue;
      attributes.delete(name);
      news.push([name, null]);
      continue;
    }
    const type = entry.metadata?.type ?? known?.type ?? 'string';
    const value = entry.value ?? known?.value ?? '';
    const optional = entry.optional ?? known?.optional ?? true;
    const fits = isKey(name) && isValue(value) && typeMismatch(type, value) === undefined;
    const room = known !== undefined || attributes.size < attributesMax;
    if (!fits || !room || isSame(known, { value, optional, type })) continue;
    attributes.set(name, { value, optional, type });
    news.push([name, { value, optional, metadata: { type } }]);
  }
  if (news.length === 0) return { device, changed: [], replies: [] };
  const body = { event_id: '', timestamp: moment.nowMs, attributes: sorted(news) };
  return {
    device: { ...device, attributes },
    changed: news.map(([name]) => name),
    replies: [{ topic: deviceTopic(device.id, 'updated'), body }],
  };
}

export function updateAttributes(
  known: Device | undefined,
  id: string,
  update: AttributeUpdate | null | undefined,
  moment: Moment,
): Outcome {
  if (known === undefined) return ignored(`attributes of ${id}: no such device`);
  const { device, changed, replies } = withAttributes(known, update, moment);
  if (changed.length === 0) return ignored(`attributes of ${id}: nothing new`);
  return {
    change: { deviceId: id, device, row: false, properties: [], attributes: changed, marks: [] },
    replies,
    refused: [],
    notes: [],
  };
}

function isSame(known: Attribute | undefined, next: Attribute): boolean {
  return known?.value === next.value && known.optional === next.optional && known.type === next.type;
}
