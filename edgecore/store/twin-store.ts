/**
 * Devices in the edge's database: the rows of device, device_attr and device_twin, and the marks of what the
 * cloud has not confirmed. Functions over a connection, to be used inside `Store.read` and `Store.write`; what a
 * change means is DeviceTwin's to know.
 */

import { z } from 'zod';
import { type TwinVersion, twinVersionSchema } from '#protocol/twin.ts';
import type { Sql } from './connection.ts';

/** One side of a property: expected (wanted) or actual (observed). An empty value is one that was cleared. */
export interface Side {
  readonly value: string;
  readonly timestampMs: number;
  readonly version: TwinVersion;
}

export interface Property {
  readonly expected: Side | undefined;
  readonly actual: Side | undefined;
  readonly optional: boolean;
  /** `deleted` marks a property that a client took away; its versions go on. */
  readonly type: string;
  /** The type by the DeviceModel; undefined for a property that stands in no spec. */
  readonly declaredType: string | undefined;
  /** The spec's desired value that was last taken over as expected. */
  readonly appliedDesired: string | undefined;
}

export interface Attribute {
  readonly value: string;
  readonly optional: boolean;
  readonly type: string;
}

export interface Device {
  /** `<namespace>/<name>` */
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly state: string;
  readonly lastOnline: string;
  /** Of the Device object; undefined while only a membership message named the device. */
  readonly uid: string | undefined;
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly twin: ReadonlyMap<string, Property>;
}

/** What the cloud has yet to confirm: a property, or (name empty) the device's state. */
export interface Mark {
  readonly deviceId: string;
  readonly kind: 'twin' | 'state';
  readonly name: string;
  readonly revision: number;
}

interface DeviceRow {
  readonly id: string;
  readonly name: string | null;
  readonly description: string | null;
  readonly state: string | null;
  readonly last_online: string | null;
  readonly uid: string | null;
}

interface PropertyRow {
  readonly deviceid: string;
  readonly name: string;
  readonly expected: string | null;
  readonly actual: string | null;
  readonly expected_meta: string | null;
  readonly actual_meta: string | null;
  readonly expected_version: string | null;
  readonly actual_version: string | null;
  readonly optional: number | null;
  readonly attr_type: string | null;
  readonly declared_type: string | null;
  readonly applied_desired: string | null;
}

interface AttributeRow {
  readonly deviceid: string;
  readonly name: string;
  readonly value: string | null;
  readonly optional: number | null;
  readonly attr_type: string | null;
}

const metaSchema = z.looseObject({ timestamp: z.number() });

export function loadDevices(sql: Sql): Map<string, Device> {
  const twins = new Map<string, Map<string, Property>>();
  for (const row of sql.all<PropertyRow>('SELECT * FROM device_twin ORDER BY id')) {
    mapOf(twins, row.deviceid).set(row.name, propertyOf(row));
  }
  const attributes = new Map<string, Map<string, Attribute>>();
  for (const row of sql.all<AttributeRow>('SELECT * FROM device_attr ORDER BY id')) {
    mapOf(attributes, row.deviceid).set(row.name, attributeOf(row));
  }
  const devices = sql
    .all<DeviceRow>('SELECT * FROM device ORDER BY id')
    .map((row) => deviceOf(row, twins.get(row.id), attributes.get(row.id)));
  return new Map(devices.map((device) => [device.id, device]));
}

export function loadDevice(sql: Sql, id: string): Device | undefined {
  const row = sql.get<DeviceRow>('SELECT * FROM device WHERE id = ?', id);
  if (row === undefined) return undefined;
  const twin = sql
    .all<PropertyRow>('SELECT * FROM device_twin WHERE deviceid = ? ORDER BY id', id)
    .map((property): [string, Property] => [property.name, propertyOf(property)]);
  const attributes = sql
    .all<AttributeRow>('SELECT * FROM device_attr WHERE deviceid = ? ORDER BY id', id)
    .map((attribute): [string, Attribute] => [attribute.name, attributeOf(attribute)]);
  return deviceOf(row, new Map(twin), new Map(attributes));
}

/** The device's own row, without its properties and attributes. */
export function saveDevice(sql: Sql, device: Device): void {
  sql.run(
    `INSERT INTO device (id, name, description, state, last_online, uid) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description,
       state = excluded.state, last_online = excluded.last_online, uid = excluded.uid`,
    device.id,
    device.name,
    device.description,
    device.state,
    device.lastOnline,
    device.uid ?? null,
  );
}

/** Most writes change a row that is there, and an insert counts up `sqlite_sequence` even where it ends as an update. */
export function saveProperty(sql: Sql, deviceId: string, name: string, property: Property): void {
  const { expected, actual } = property;
  const columns = [
    expected?.value ?? null,
    actual?.value ?? null,
    metaOf(expected),
    metaOf(actual),
    versionOf(expected),
    versionOf(actual),
    property.optional ? 1 : 0,
    property.type,
    property.declaredType ?? null,
    property.appliedDesired ?? null,
    deviceId,
    name,
  ];
  const changed = sql.run(
    `UPDATE device_twin SET expected = ?, actual = ?, expected_meta = ?, actual_meta = ?, expected_version = ?,
       actual_version = ?, optional = ?, attr_type = ?, declared_type = ?, applied_desired = ?
     WHERE deviceid = ? AND name = ?`,
    ...columns,
  );
  if (changed > 0) return;
  sql.run(
    `INSERT INTO device_twin (expected, actual, expected_meta, actual_meta, expected_version, actual_version,
       optional, attr_type, declared_type, applied_desired, deviceid, name, metadata)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '{}')`,
    ...columns,
  );
}

export function deleteProperty(sql: Sql, deviceId: string, name: string): void {
  sql.run('DELETE FROM device_twin WHERE deviceid = ? AND name = ?', deviceId, name);
  sql.run("DELETE FROM twin_unsynced WHERE deviceid = ? AND kind = 'twin' AND name = ?", deviceId, name);
}

export function saveAttribute(sql: Sql, deviceId: string, name: string, attribute: Attribute): void {
  sql.run(
    `INSERT INTO device_attr (deviceid, name, value, optional, attr_type, metadata) VALUES (?, ?, ?, ?, ?, '{}')
     ON CONFLICT (deviceid, name) DO UPDATE SET value = excluded.value, optional = excluded.optional,
       attr_type = excluded.attr_type`,
    deviceId,
    name,
    attribute.value,
    attribute.optional ? 1 : 0,
    attribute.type,
  );
}

export function deleteAttribute(sql: Sql, deviceId: string, name: string): void {
  sql.run('DELETE FROM device_attr WHERE deviceid = ? AND name = ?', deviceId, name);
}

/** The device with all that belongs to it. */
export function deleteDevice(sql: Sql, id: string): void {
  sql.run('DELETE FROM device WHERE id = ?', id);
  sql.run('DELETE FROM device_attr WHERE deviceid = ?', id);
  sql.run('DELETE FROM device_twin WHERE deviceid = ?', id);
  sql.run('DELETE FROM twin_unsynced WHERE deviceid = ?', id);
}

export function loadMarks(sql: Sql): Mark[] {
  return sql.all<Mark>(
    'SELECT deviceid AS deviceId, kind, name, revision FROM twin_unsynced ORDER BY revision',
  );
}

export function saveMark(sql: Sql, mark: Mark): void {
  sql.run(
    `INSERT INTO twin_unsynced (deviceid, kind, name, revision) VALUES (?, ?, ?, ?)
     ON CONFLICT (deviceid, kind, name) DO UPDATE SET revision = excluded.revision`,
    mark.deviceId,
    mark.kind,
    mark.name,
    mark.revision,
  );
}

/** Takes the mark away unless a newer value has renewed it. */
export function clearMark(sql: Sql, mark: Mark): void {
  sql.run(
    'DELETE FROM twin_unsynced WHERE deviceid = ? AND kind = ? AND name = ? AND revision <= ?',
    mark.deviceId,
    mark.kind,
    mark.name,
    mark.revision,
  );
}

function deviceOf(
  row: DeviceRow,
  twin: ReadonlyMap<string, Property> = new Map(),
  attributes: ReadonlyMap<string, Attribute> = new Map(),
): Device {
  return {
    id: row.id,
    name: row.name ?? row.id.slice(row.id.indexOf('/') + 1),
    description: row.description ?? '',
    state: row.state ?? '',
    lastOnline: row.last_online ?? '',
    uid: row.uid ?? undefined,
    attributes,
    twin,
  };
}

function propertyOf(row: PropertyRow): Property {
  return {
    expected: sideOf(row.expected, row.expected_meta, row.expected_version),
    actual: sideOf(row.actual, row.actual_meta, row.actual_version),
    optional: row.optional !== 0,
    type: row.attr_type ?? 'string',
    declaredType: row.declared_type ?? undefined,
    appliedDesired: row.applied_desired ?? undefined,
  };
}

function attributeOf(row: AttributeRow): Attribute {
  return { value: row.value ?? '', optional: row.optional !== 0, type: row.attr_type ?? 'string' };
}

/** A file taken over from KubeEdge may hold empty texts where we write null. */
function sideOf(value: string | null, meta: string | null, version: string | null): Side | undefined {
  const counted = twinVersionSchema.safeParse(parseJson(version));
  if (value === null || (value === '' && !counted.success)) return undefined;
  const written = metaSchema.safeParse(parseJson(meta));
  return {
    value,
    timestampMs: written.success ? written.data.timestamp : 0,
    version: counted.success ? counted.data : { cloud: 0, edge: 0 },
  };
}

function metaOf(side: Side | undefined): string | null {
  return side === undefined ? null : JSON.stringify({ timestamp: side.timestampMs });
}

function versionOf(side: Side | undefined): string | null {
  return side === undefined ? null : JSON.stringify(side.version);
}

function parseJson(text: string | null): unknown {
  if (text === null || text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function mapOf<T>(maps: Map<string, Map<string, T>>, key: string): Map<string, T> {
  const known = maps.get(key);
  if (known !== undefined) return known;
  const made = new Map<string, T>();
  maps.set(key, made);
  return made;
}
