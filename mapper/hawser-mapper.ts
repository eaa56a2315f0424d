/**
 * `hawser/mapper`, whole: what a mapper's author writes is a class that speaks to one device, all else is the SDK's.
 * This file imports no types, so that its declarations stand alone in the package.
 */

/** What properties hold and configData says. */
export type Scalar = string | number | boolean;

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

export interface MapperDefaults {
  /** Of this mapper, on its edge. */
  readonly name: string;
  /** Devices whose protocolName is this one are this mapper's. */
  readonly protocol: string;
}

/**
 * Runs the mapper until SIGINT or SIGTERM, and then ends the process. What a config file (`--config-file`) and the
 * command line say goes before the defaults; `--help` lists it.
 */
export async function startMapper(
  driverClass: DriverClass,
  defaults?: MapperDefaults,
  args: readonly string[] = process.argv.slice(2),
): Promise<void> {
  const { runProgram } = await import('./sdk/program.ts');
  await runProgram(driverClass, defaults, args);
}
