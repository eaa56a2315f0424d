/** The log writer as a process: `process-logs CONTAINERS_DIR OWNER_PID OWNER_START`. */

import { systemClock } from '#beehive/clock.ts';
import { writeLogs } from './process-logs.ts';

const [directory, pid, start] = process.argv.slice(2);
if (directory === undefined || pid === undefined || start === undefined) {
  process.stderr.write('usage: process-logs CONTAINERS_DIR OWNER_PID OWNER_START\n');
  process.exit(2);
}
const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, () => stop.abort());
await writeLogs(directory, { pid: Number(pid), start }, systemClock, stop.signal);
