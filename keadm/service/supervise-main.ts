/** The supervisor as a process of its own, for machines without systemd: `supervise <service as JSON>`. */

import { z } from 'zod';
import { systemClock } from '#beehive/clock.ts';
import { runDaemon } from '#beehive/daemon.ts';
import { systemRandom } from '#beehive/random.ts';
import { supervise } from './supervise.ts';

const serviceSchema = z.object({
  name: z.string(),
  description: z.string(),
  argv: z.tuple([z.string()], z.string()),
  logFile: z.string(),
  stateDir: z.string(),
});

await runDaemon('supervise', async (signal) => {
  const service = serviceSchema.parse(JSON.parse(process.argv[2] ?? 'null'));
  process.title = `hawser-supervise ${service.name}`;
  await supervise(service, { clock: systemClock, random: systemRandom }, signal);
});
