/** The thermometer as a program: command line and signals, nothing else. */

import { systemClock } from '#beehive/clock.ts';
import { runDaemon } from '#beehive/daemon.ts';
import { systemRandom } from '#beehive/random.ts';
import { parseOptions } from './options.ts';
import { runThermometer } from './thermometer.ts';

await runDaemon('thermometer', (signal) => {
  const components = {
    clock: systemClock,
    random: systemRandom,
    say: (line: string) => process.stderr.write(`thermometer: ${line}\n`),
  };
  return runThermometer(parseOptions(process.argv.slice(2)), components, signal);
});
