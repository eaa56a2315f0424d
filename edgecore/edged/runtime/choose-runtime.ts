/** Which runtime this edge uses, from its config and what the machine has. */

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { parseQuantity } from '#protocol/quantity.ts';
import type { EdgedConfig } from '../config.ts';
import { removeProcessRuntime } from './process-removal.ts';
import { createProcessRuntime } from './process-runtime.ts';
import type { RuntimeService } from './runtime-service.ts';

const answerMs = 1000;

/** Where runtimes listen that nobody has configured; the first is the endpoint when nothing is said. */
const usualSockets: readonly string[] = ['/run/containerd/containerd.sock', '/var/run/crio/crio.sock'];

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
  usual: readonly string[] = usualSockets,
): Promise<RuntimeService> {
  const { containerLogMaxSize, containerLogMaxFiles, cgroupDriver } = config.tailoredKubeletConfig;
  const root = processRuntimeRoot(config.rootDirectory);
  const mark = markOf(config.rootDirectory);
  const socket = config.runtime === 'process' ? undefined : await socketOf(config, usual, components.clock);
  if (socket !== undefined) {
    components.log.info({ socket }, 'pods run as containers');
    mkdirSync(config.rootDirectory, { recursive: true });
    writeFileSync(mark, JSON.stringify({ socket, instance }));
    if (existsSync(root)) {
      await removeProcessRuntime(root, components.clock);
      rmSync(root, { recursive: true, force: true });
    }
    const { createCriRuntime } = await import('./cri/cri-runtime.ts');
    return createCriRuntime({ socket, protoFile: files.protoFile, instance, cgroupDriver }, components);
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

/** Where to look for a runtime: at what was said, and at the other usual places when that is the default. */
export function runtimeSockets(endpoint: string, usual: readonly string[] = usualSockets): readonly string[] {
  const configured = endpoint.replace(/^unix:\/\//, '');
  return configured === usual[0] ? usual : [configured];
}

/** Undefined: pods are no containers here. */
async function socketOf(
  { runtime, rootDirectory, tailoredKubeletConfig }: EdgedConfig,
  usual: readonly string[],
  clock: Clock,
): Promise<string | undefined> {
  const candidates = runtimeSockets(tailoredKubeletConfig.containerRuntimeEndpoint, usual);
  const [configured] = candidates;
  const mark = markOf(rootDirectory);
  const before = existsSync(mark)
    ? markSchema.parse(JSON.parse(readFileSync(mark, 'utf8'))).socket
    : undefined;
  if (before !== undefined && candidates.includes(before)) return before;
  for (const socket of candidates) if (await answers(socket, clock)) return socket;
  return runtime === 'cri' || before !== undefined ? configured : undefined;
}

const markSchema = z.object({ socket: z.string(), instance: z.string() });

/** Beside the pods' directories: this edge's pods are containers of the runtime at that socket. */
function markOf(rootDirectory: string): string {
  return join(rootDirectory, 'containers.json');
}

/** For taking an edge off the machine: ends its containers. False when its pods never were containers. */
export async function removeContainers(
  rootDirectory: string,
  protoFile: string,
  components: { clock: Clock; log: Log },
): Promise<boolean> {
  const mark = markOf(rootDirectory);
  if (!existsSync(mark)) return false;
  const { socket, instance } = markSchema.parse(JSON.parse(readFileSync(mark, 'utf8')));
  const { createCriRuntime } = await import('./cri/cri-runtime.ts');
  const runtime = createCriRuntime({ socket, instance, protoFile }, components);
  try {
    const sandboxes = await runtime.listPodSandboxes();
    await Promise.all(sandboxes.map(({ id }) => runtime.removePodSandbox(id)));
  } finally {
    await runtime.close();
  }
  rmSync(mark, { force: true });
  return true;
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
