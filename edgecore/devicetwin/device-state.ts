/** A device's own word on how it is: `state/update`, decided purely, and how it is told to clients and cloud. */

import { deviceTopic } from '#protocol/topics.ts';
import { deviceStates, type StateReport, stateUpdateSchema } from '#protocol/twin.ts';
import type { Device } from '../store/twin-store.ts';
import { ignored, type Moment, type Outcome } from './outcome.ts';
import { parse } from './twin.ts';

const onlineStates: ReadonlySet<string> = new Set(['online', 'ok']);

/** What cannot be taken draws no answer, as KubeEdge does it. */
export function updateState(
  device: Device | undefined,
  id: string,
  payload: string,
  moment: Moment,
): Outcome {
  const request = parse(payload, stateUpdateSchema);
  if (request === undefined) return ignored(`state of ${id}: the body is not a state in JSON`);
  if (device === undefined) return ignored(`state of ${id}: no such device`);
  if (!deviceStates.has(request.state.toLowerCase())) {
    return ignored(`state of ${id}: "${request.state.slice(0, 40)}" is not a state`);
  }
  const after: Device = {
    ...device,
    state: request.state,
    lastOnline: isOnline(request.state) ? rfc3339(moment.nowMs) : device.lastOnline,
  };
  return {
    change: { deviceId: id, device: after, row: true, properties: [], marks: [{ kind: 'state', name: '' }] },
    replies: [{ topic: deviceTopic(id, 'state/update/result'), body: stateBody(after, moment) }],
    refused: [],
    notes: [],
  };
}

/** The time stands there only while the device is online; the stored one stays the last that it was. */
export function stateBody(device: Device, moment: Moment): StateReport {
  return {
    event_id: moment.newEventId(),
    timestamp: moment.nowMs,
    device: {
      name: device.name,
      state: device.state,
      ...(isOnline(device.state) ? { lastOnlineTime: device.lastOnline } : {}),
    },
  };
}

function isOnline(state: string): boolean {
  return onlineStates.has(state.toLowerCase());
}

function rfc3339(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
