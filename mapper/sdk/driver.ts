/** What a mapper's author writes: a class that speaks to one device. All else is the SDK's. */

import type { Scalar } from '#protocol/dmi/any-value.ts';

export type Config = Readonly<Record<string, Scalar>>;

export interface MapperDevice {
  readonly namespace: string;
  readonly name: string;
  /** `spec.protocol.configData`, the model's defaults filled in. */
  readonly config: Config;
}

export interface MapperProperty {
  readonly name: string;
  /** By the model, in lower case: int, float, double, boolean, string, bytes, stream. */
  readonly type: string;
  readonly readOnly: boolean;
  readonly minimum: string;
  readonly maximum: string;
  readonly unit: string;
  /** `visitors.configData`, the model's defaults filled in. */
  readonly config: Config;
}

export type DeviceState = 'ok' | 'online' | 'offline' | 'unhealthy' | 'unknown';

/**
 * One device. Methods are called one at a time; one that throws is logged and called again when it is its turn, and
 * one that takes longer than ten seconds is taken to have failed.
 */
export interface Driver {
  /** Before anything else, and again until it succeeds. */
  init?(): Promise<void>;
  /** The value now: a text, a number, a switch, or what becomes JSON. */
  read(property: MapperProperty): Promise<unknown>;
  /** The value is of the property's type. */
  write?(property: MapperProperty, value: Scalar): Promise<void>;
  /** Without it: online while reads succeed, else offline. */
  state?(): Promise<DeviceState>;
  stop?(): Promise<void>;
}

export type DriverClass = new (device: MapperDevice) => Driver;
