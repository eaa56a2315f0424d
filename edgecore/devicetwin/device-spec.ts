/**
 * What a Device object says of the twin, decided purely: which properties there are, of which type, and which
 * values are wanted. `expected` follows the spec's desired value when that changes; in between it belongs to
 * whoever writes it at the edge. `actual` is never touched.
 */

import type { Device as DeviceObject } from '#protocol/resources/device.ts';
import type { DeviceModel } from '#protocol/resources/device-model.ts';
import type { Device, Property } from '../store/twin-store.ts';
import { deletedType, deltaReplies, documentReply } from './bodies.ts';
import { membershipNews, newDevice } from './membership.ts';
import type { Moment, Outcome } from './outcome.ts';
import { nextSide } from './twin.ts';
import { typeMismatch, typeOfModel } from './validation.ts';

export interface SpecContext {
  readonly id: string;
  readonly node: string;
  readonly model: DeviceModel | undefined;
}

export function applySpec(
  known: Device | undefined,
  object: DeviceObject,
  { id, node, model }: SpecContext,
  moment: Moment,
): Outcome {
  // Another uid is another device of the same name: nothing of the old one holds for it.
  const replaced = known?.uid !== undefined && known.uid !== (object.metadata.uid ?? known.uid);
  const before = known === undefined || replaced ? newDevice(id) : known;
  const types = new Map(model?.spec?.properties?.map(({ name, type }) => [name, typeOfModel(type)]));
  const twin = new Map(before.twin);
  const changed: string[] = [];
  const wanted: string[] = [];
  const notes: string[] = [];
  const inSpec = new Set<string>();

  for (const { name, desired } of object.spec?.properties ?? []) {
    if (name === '' || name === '__proto__' || inSpec.has(name)) continue;
    inSpec.add(name);
    const was = twin.get(name);
    const declared = declare(was, types.get(name));
    const next = desire(declared, desired?.value, moment);
    if (typeof next === 'string') notes.push(`desired value of ${id} ${name} not taken: ${next}`);
    const property = typeof next === 'string' ? declared : next;
    if (property === was) continue;
    twin.set(name, property);
    changed.push(name);
    if (property.expected !== was?.expected) wanted.push(name);
  }
  for (const [name, property] of before.twin) {
    if (property.declaredType === undefined || inSpec.has(name)) continue;
    twin.delete(name);
    changed.push(name);
    wanted.push(name);
  }

  const gone = replaced ? [...known.twin.keys()].filter((name) => !twin.has(name)) : [];
  const isNew = known === undefined || replaced;
  const uid = object.metadata.uid ?? before.uid;
  const description = object.metadata.labels?.description ?? before.description;
  const row = isNew || uid !== before.uid || description !== before.description;
  if (!row && changed.length === 0) return { change: undefined, replies: [], refused: [], notes };
  const after: Device = { ...before, uid, description, twin };
  return {
    change: {
      deviceId: id,
      device: after,
      row,
      properties: [...changed, ...gone],
      marks: wanted.filter((name) => twin.has(name)).map((name) => ({ kind: 'twin', name })),
    },
    replies: [
      ...(replaced ? [membershipNews(node, moment, { removed: known })] : []),
      ...(isNew ? [membershipNews(node, moment, { added: after })] : []),
      ...(wanted.length === 0
        ? []
        : [
            documentReply(before, after, wanted, moment.newEventId(), moment),
            ...deltaReplies(after, moment),
          ]),
    ],
    refused: [],
    notes,
  };
}

/** The property as one of the spec. Without a model the declared type stays empty, and who writes first may say. */
function declare(was: Property | undefined, modelType: string | undefined): Property {
  const declaredType = modelType ?? was?.declaredType ?? '';
  if (was === undefined) {
    return {
      expected: undefined,
      actual: undefined,
      optional: true,
      type: modelType ?? 'string',
      declaredType,
      appliedDesired: undefined,
    };
  }
  const type = was.type === deletedType ? deletedType : declaredType || was.type;
  return was.declaredType === declaredType && was.type === type ? was : { ...was, type, declaredType };
}

/** The property with the spec's desired value, if that is news; a text is the reason why it is not taken. */
function desire(property: Property, desired: string | undefined, moment: Moment): Property | string {
  const value = desired === '' ? undefined : desired;
  if (value === property.appliedDesired) return property;
  const type = property.type === deletedType ? property.declaredType || 'string' : property.type;
  const reason = typeMismatch(type, value ?? '');
  if (reason !== undefined) return reason;
  return {
    ...property,
    type,
    expected: nextSide(property.expected, value ?? '', moment),
    appliedDesired: value,
  };
}
