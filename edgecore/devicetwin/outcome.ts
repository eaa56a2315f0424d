/** What deciding about an event yields: rows to write, what the cloud must hear, and what is said over MQTT. */

import type { Device, Mark } from '../store/twin-store.ts';

export interface Reply {
  readonly topic: string;
  readonly body: unknown;
}

/** The next state of one device and which of its rows differ. */
export interface Change {
  readonly deviceId: string;
  /** Undefined: the device is gone, with all its rows. */
  readonly device: Device | undefined;
  /** The device's own row is new or changed. */
  readonly row: boolean;
  /** Properties that are new, changed or (absent from the device's twin) gone. */
  readonly properties: readonly string[];
  /** Attributes that are new, changed or (absent from the device) gone. */
  readonly attributes?: readonly string[];
  readonly marks: readonly Pick<Mark, 'kind' | 'name'>[];
}

export interface Outcome {
  readonly change: Change | undefined;
  /** Published, in order, once the change is on the disk. */
  readonly replies: readonly Reply[];
  /** Published instead when the change could not be stored. */
  readonly refused: readonly Reply[];
  /** What an operator should know, because the spec asks for it and it was not done. */
  readonly notes: readonly string[];
  /** Why a client's message draws no answer: a client may send that any number of times. */
  readonly ignored?: string;
  /** Why a request was answered with an error, for who asks otherwise than over MQTT. */
  readonly rejected?: { readonly code: 400 | 404; readonly reason: string };
}

/** What an event cannot say of itself. */
export interface Moment {
  readonly nowMs: number;
  /** A new event id for what nobody asked for. */
  readonly newEventId: () => string;
}

export function answered(replies: readonly Reply[]): Outcome {
  return { change: undefined, replies, refused: [], notes: [] };
}

export function rejected(replies: readonly Reply[], code: 400 | 404, reason: string): Outcome {
  return { ...answered(replies), rejected: { code, reason } };
}

export function ignored(note: string): Outcome {
  return { change: undefined, replies: [], refused: [], notes: [], ignored: note };
}

/** The error object of every `…/result` topic. */
export function errorBody(eventId: string, moment: Moment, code: 400 | 404 | 500, reason: string): object {
  return { event_id: eventId, timestamp: moment.nowMs, code, reason };
}
