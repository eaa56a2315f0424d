/** Which runtime this edge uses, from its config and what the machine has. */

import { connect } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '#beehive/clock.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import type { Log } from '#beehive/log.ts';
import type { EdgedConfig } from '../config.ts';
import { parseQuantity } from '../fields.ts';
import { createProcessRuntime } from './process-runtime.ts';
import type { RuntimeService } from './runtime-service.ts';

const answerMs = 1000;

/** Where the process runtime of an edge keeps its state. */
export function processRuntimeRoot(rootDirectory: string): string {
  return join(rootDirectory, 'process-runtime');
}

/** @throws UnrecoverableError for `runtime: cri`, which this version does not have. */
export async function chooseRuntime(
  config: EdgedConfig,
  files: { readonly logWriterFile: string },
  components: { clock: Clock; log: Log },
): Promise<RuntimeService> {
  const { containerRuntimeEndpoint, containerLogMaxSize, containerLogMaxFiles } =
    config.tailoredKubeletConfig;
  if (config.runtime === 'cri') {
    throw new UnrecoverableError(
      'modules.edged.runtime: cri is not in this version; set it to process (or auto) and start again',
      { exitCode: 2 },
    );
  }
  const socket = containerRuntimeEndpoint.replace(/^unix:\/\//, '');
  if (config.runtime === 'auto' && (await answers(socket, components.clock))) {
    components.log.warn(
      { socket },
      'a container runtime answers here, but the cri runtime is not in this version: pods run with the process runtime',
    );
  }
  const bytesMax = parseQuantity(containerLogMaxSize);
  return createProcessRuntime(
    {
      root: processRuntimeRoot(config.rootDirectory),
      instance: config.instanceId || config.hostnameOverride,
      logWriterFile: files.logWriterFile,
      ...(Number.isFinite(bytesMax) ? { logBytesMax: bytesMax } : {}),
      logFilesMax: containerLogMaxFiles,
    },
    components,
  );
}

async function answers(path: string, clock: Clock): Promise<boolean> {
  const socket = connect({ path });
  const done = new AbortController();
  const answered = new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  });
  const late = clock.sleep(answerMs, done.signal).then(
    () => false,
    () => false,
  );
  const result = await Promise.race([answered, late]);
  done.abort();
  socket.destroy();
  return result;
}
