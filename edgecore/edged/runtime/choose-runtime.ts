/** Which runtime this edge uses, from its config and what the machine has. */

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { EdgedConfig } from '../config.ts';
import { parseQuantity } from '../fields.ts';
import { createProcessRuntime, removeProcessRuntime } from './process-runtime.ts';
import type { RuntimeService } from './runtime-service.ts';

const answerMs = 1000;

/** Where the process runtime of an edge keeps its state. */
export function processRuntimeRoot(rootDirectory: string): string {
  return join(rootDirectory, 'process-runtime');
}

/** Where an installation has the description of the runtime interface. */
export function protoFileOf(packageDirectory: string): string {
  return join(packageDirectory, 'edgecore/edged/runtime/cri/cri.proto');
}

/**
 * `auto` takes the container runtime when it answers, and stays with it: a runtime that starts later than we do at
 * a boot must not make a machine's pods change their kind.
 */
export async function chooseRuntime(
  config: EdgedConfig,
  /** The mark on everything that this edge creates. */
  instance: string,
  files: { readonly logWriterFile: string; readonly protoFile: string },
  components: { clock: Clock; log: Log },
): Promise<RuntimeService> {
  const { containerRuntimeEndpoint, containerLogMaxSize, containerLogMaxFiles } =
    config.tailoredKubeletConfig;
  const socket = containerRuntimeEndpoint.replace(/^unix:\/\//, '');
  const root = processRuntimeRoot(config.rootDirectory);
  const mark = join(config.rootDirectory, 'runs-containers');
  const useCri =
    config.runtime === 'cri' ||
    (config.runtime === 'auto' && (existsSync(mark) || (await answers(socket, components.clock))));
  if (useCri) {
    components.log.info({ socket }, 'pods run as containers');
    mkdirSync(config.rootDirectory, { recursive: true });
    writeFileSync(mark, `${socket}\n`);
    if (existsSync(root)) await removeProcessRuntime(root, components.clock);
    const { createCriRuntime } = await import('./cri/cri-runtime.ts');
    return createCriRuntime({ socket, protoFile: files.protoFile, instance }, components);
  }
  rmSync(mark, { force: true });
  const bytesMax = parseQuantity(containerLogMaxSize);
  return createProcessRuntime(
    {
      root,
      instance,
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
