/** A mapper as a program: `--config-file config.yaml`, signals, log. */

import { parseArgs } from 'node:util';
import { systemClock } from '#beehive/clock.ts';
import { loadConfig } from '#beehive/config-file.ts';
import { runDaemon } from '#beehive/daemon.ts';
import { createLog } from '#beehive/log.ts';
import { systemRandom } from '#beehive/random.ts';
import { mapperFormat } from './config.ts';
import type { DriverClass } from './driver.ts';
import { runMapper } from './mapper.ts';

/** Ends the process when the mapper ends. */
export function startMapper(
  driverClass: DriverClass,
  args: readonly string[] = process.argv.slice(2),
): Promise<void> {
  return runDaemon('mapper', async (signal) => {
    const { values } = parseArgs({
      args: [...args],
      options: { 'config-file': { type: 'string', default: './config.yaml' } },
    });
    const { config } = await loadConfig(values['config-file'], mapperFormat);
    const log = createLog({ name: config.common.name });
    await runMapper(config, driverClass, { clock: systemClock, random: systemRandom, log }, signal);
  });
}
