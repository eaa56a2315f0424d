/** `npm start`: a cloud, an edge, a pod and a device on this machine; `--once` ends when all of it works. */

import { parseArgs } from 'node:util';
import { runDaemon } from '#beehive/daemon.ts';
import { quickstart } from './quickstart.ts';

const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } });

await runDaemon('hawser', (signal) =>
  quickstart(
    {
      dataDir: process.env.HAWSER_DATA ?? '.hawser',
      once: values.once,
      print: (line) => process.stdout.write(`${line}\n`),
    },
    signal,
  ),
);
