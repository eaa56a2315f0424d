/** The thermometer's command line. */

import { parseArgs } from 'node:util';
import { ConfigError } from '#beehive/errors.ts';
import type { ThermometerOptions } from './thermometer.ts';

const usage =
  'usage: thermometer --broker mqtt://HOST:PORT --device NAMESPACE/NAME [--property NAME] [--interval-ms N]';

/** @throws ConfigError that says how it is called */
export function parseOptions(args: readonly string[]): ThermometerOptions {
  const wrong = (reason: string) =>
    new ConfigError(`${reason}\n${usage}`, {
      code: 'config',
      file: '(command line)',
      issues: [{ path: '', reason }],
    });
  let values: { broker?: string; device?: string; property?: string; 'interval-ms'?: string };
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        broker: { type: 'string' },
        device: { type: 'string' },
        property: { type: 'string' },
        'interval-ms': { type: 'string' },
      },
    }));
  } catch (error) {
    // parseArgs throws TypeErrors that name the argument.
    throw wrong(error instanceof Error ? error.message : String(error));
  }
  const { broker, device, property = 'temperature' } = values;
  const intervalMs = Number(values['interval-ms'] ?? 1_000);
  if (broker === undefined || !URL.canParse(broker)) throw wrong('--broker is not a URL');
  if (device === undefined || !/^[^/]+\/[^/]+$/.test(device)) throw wrong('--device is not NAMESPACE/NAME');
  if (!Number.isInteger(intervalMs) || intervalMs < 10) throw wrong('--interval-ms is not a number from 10');
  return { broker, device, property, intervalMs };
}
