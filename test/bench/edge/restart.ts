/** Ten pods after edgecore and all that they ran was killed while there is no cloud: how soon they run again. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '../../e2e/workspace.ts';
import type { BenchCloud } from '../cloud.ts';
import type { Figure } from '../figures.ts';
import { runPods, startEdge } from './edge.ts';

const names = Array.from({ length: 10 }, (_, at) => `bench-restart-${at}`);

export async function benchRestart(cloud: BenchCloud): Promise<Figure[]> {
  const edge = await startEdge(cloud);
  try {
    await runPods(cloud, edge, names);
    const { processes } = cloud;
    await processes.stop('cloudcore');
    await processes.stop(edge.service, 'SIGKILL');
    for (const pid of await podProcesses(edge.dataDir)) process.kill(pid, 'SIGKILL');
    const startedMs = performance.now();
    await processes.startAgain(edge.service);
    await eventually('all pods started again', 60_000, async () =>
      (await starts(edge.dataDir)).every((count) => count >= 2) ? true : undefined,
    );
    const seconds = (performance.now() - startedMs) / 1000;
    await processes.startAgain('cloudcore');
    return [
      {
        what: '10 pods back after an offline restart',
        value: seconds,
        unit: 's',
        budget: { is: 'at most', value: 2 },
        kubeedge: '2.4 s',
      },
    ];
  } finally {
    await edge.close();
  }
}

/** How often each pod's command has begun. */
async function starts(dataDir: string): Promise<number[]> {
  const texts = await Promise.all(names.map((name) => readFile(join(dataDir, name), 'utf8').catch(() => '')));
  return texts.map((text) => text.split('\n').length - 1);
}

/** The processes of the pods: their command names the directory of this benchmark. */
async function podProcesses(dataDir: string): Promise<number[]> {
  const found: number[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const command = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
    if (command.startsWith('/bin/sh\0') && command.includes(`>> ${dataDir}/`)) found.push(Number(entry));
  }
  return found;
}
