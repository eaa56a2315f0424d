/** The container runtime that `test/containers/up` started, for tests that need a real one. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { protoFileOf } from '#edgecore/edged/runtime/choose-runtime.ts';
import { createCriRuntime } from '#edgecore/edged/runtime/cri/cri-runtime.ts';
import type { RuntimeService } from '#edgecore/edged/runtime/runtime-service.ts';
import { filesBelow } from '#test/files-below.ts';
import { eventually } from '../e2e/workspace.ts';

export const criEndpoint = process.env.HAWSER_TEST_CRI ?? '';
export const criImage = process.env.HAWSER_TEST_IMAGE ?? '';

/** Why such tests are skipped; undefined when they can run. */
export const needsCri =
  criEndpoint === '' || criImage === ''
    ? 'no container runtime: `eval "$(test/containers/up DIR)"` starts one (as root) and sets HAWSER_TEST_CRI and HAWSER_TEST_IMAGE'
    : undefined;

export function openCri(instance: string, socket = criEndpoint.replace(/^unix:\/\//, '')): RuntimeService {
  const options = { socket, protoFile: protoFileOf(packageRoot()), instance };
  return createCriRuntime(options, { clock: systemClock, log: silentLog });
}

/** Removes all that carries the instance id. */
export async function removeAll(runtime: RuntimeService): Promise<void> {
  for (const { id } of await runtime.listPodSandboxes()) await runtime.removePodSandbox(id);
}

/** The mark that the edge whose files lie below the directory puts on what is its own, once it has chosen a runtime. */
export function instanceOf(edgeDirectory: string): Promise<string> {
  return eventually(`the mark of the edge in ${edgeDirectory}`, 20_000, async () => {
    const files = await filesBelow(edgeDirectory);
    const mark = files.find((file) => file.endsWith('containers.json'));
    if (mark === undefined) return undefined;
    return markSchema.parse(JSON.parse(await readFile(join(edgeDirectory, mark), 'utf8'))).instance;
  });
}

const markSchema = z.object({ instance: z.string() });
