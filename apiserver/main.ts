#!/usr/bin/env node
/** Command line of the API server. */

import { parseArgs } from 'node:util';
import { systemClock } from '#beehive/clock.ts';
import { runDaemon } from '#beehive/daemon.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import { createLog } from '#beehive/log.ts';
import { systemRandom } from '#beehive/random.ts';
import { type ApiServerOptions, startApiServer } from './apiserver.ts';

const usage = `Usage: apiserver --data-dir DIR [options]

A Kubernetes API on one SQLite file, for one machine.

  --data-dir DIR               where keys, kubeconfigs (admin.conf, cloudcore.conf) and state.db are kept
  --bind-address ADDRESS       address to listen on (default 127.0.0.1)
  --secure-port PORT           HTTPS port (default 6443; 0 takes any free one)
  --advertise-address A[,B]    further addresses and names of this server, for its certificate;
                               the first one stands in the kubeconfigs
  --help                       this text
`;

function readOptions(args: readonly string[]): ApiServerOptions | 'help' {
  const { values } = parseFlags(args);
  if (values.help === true) return 'help';
  const dataDir = values['data-dir'];
  if (dataDir === undefined || dataDir === '')
    throw wrongUsage('--data-dir is missing; name the directory to keep the state in');
  const port = Number(values['secure-port'] ?? '6443');
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw wrongUsage(
      `--secure-port ${values['secure-port'] ?? ''} is not a port; use a number from 0 to 65535`,
    );
  }
  return {
    dataDir,
    bindAddress: values['bind-address'] ?? '127.0.0.1',
    securePort: port,
    advertiseAddresses: (values['advertise-address'] ?? '')
      .split(',')
      .map((each) => each.trim())
      .filter((each) => each !== ''),
  };
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        'data-dir': { type: 'string' },
        'bind-address': { type: 'string' },
        'secure-port': { type: 'string' },
        'advertise-address': { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    // parseArgs throws TypeErrors that say which argument is wrong.
    if (error instanceof TypeError) throw wrongUsage(error.message);
    throw error;
  }
}

function wrongUsage(message: string): UnrecoverableError {
  return new UnrecoverableError(`${message} (see apiserver --help)`, { exitCode: 2 });
}

await runDaemon('apiserver', async (signal) => {
  const options = readOptions(process.argv.slice(2));
  if (options === 'help') {
    process.stdout.write(usage);
    return;
  }
  const log = createLog({ name: 'apiserver' });
  const server = await startApiServer(options, { clock: systemClock, random: systemRandom, log });
  log.info({ url: server.url, kubeconfig: server.adminKubeconfig }, 'API server is listening');
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await server.close();
});
