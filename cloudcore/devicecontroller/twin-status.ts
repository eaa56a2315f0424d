/**
 * From what an edge reports to what DeviceStatus says: pure. The newest value of each property wins; what the
 * report does not mention stays; properties that the Device does not have (any more) are cut.
 */

import type { TwinValue } from '#protocol/resources/device.ts';
import type { DeviceStatusTwin } from '#protocol/resources/device-status.ts';
import type { TwinEntryBody, TwinSide, TwinUpdate } from '#protocol/twin.ts';

/** News of one device that has not been written yet: the last value of each thing. */
export interface Report {
  readonly twins: ReadonlyMap<string, DeviceStatusTwin>;
  readonly state?: string | undefined;
  readonly lastOnlineTime?: string | undefined;
}

export const emptyReport: Report = { twins: new Map() };

/** What `twin/edge_updated` says; deleted keys (null) say nothing about a value. */
export function readTwins(update: TwinUpdate): Report {
  const twins = new Map<string, DeviceStatusTwin>();
  for (const [propertyName, entry] of Object.entries(update.twin ?? {})) {
    if (entry === null) continue;
    const reported = sideValue(entry.actual, entry);
    const observedDesired = sideValue(entry.expected, entry);
    if (reported === undefined && observedDesired === undefined) continue;
    twins.set(propertyName, {
      propertyName,
      ...(observedDesired === undefined ? {} : { observedDesired }),
      ...(reported === undefined ? {} : { reported }),
    });
  }
  return { twins };
}

/** `later` over `earlier`, side by side of each property. */
export function mergeReports(earlier: Report, later: Report): Report {
  const twins = new Map(earlier.twins);
  for (const [name, twin] of later.twins) twins.set(name, { ...twins.get(name), ...twin });
  return {
    twins,
    state: later.state || earlier.state,
    // An edge reports no time for a device that went offline; the earlier one stays true.
    lastOnlineTime: later.lastOnlineTime || earlier.lastOnlineTime,
  };
}

/** The whole list for DeviceStatus, in the order of the Device's properties. */
export function twinList(
  properties: readonly string[],
  stored: ReadonlyMap<string, DeviceStatusTwin>,
): DeviceStatusTwin[] {
  return properties.flatMap((name) => stored.get(name) ?? []);
}

function sideValue(side: TwinSide | null | undefined, entry: TwinEntryBody): TwinValue | undefined {
  if (side === null || side === undefined) return undefined;
  const timestamp = side.metadata?.timestamp;
  const type = entry.metadata?.type;
  return {
    value: side.value,
    metadata: {
      ...(timestamp === undefined ? {} : { timestamp: String(timestamp) }),
      ...(type === undefined ? {} : { type }),
    },
  };
}
