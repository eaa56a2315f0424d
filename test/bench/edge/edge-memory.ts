/** What an edgecore with one pod costs at rest: memory, processor, and bytes on the wire of our own session. */

import type { BenchCloud } from '../cloud.ts';
import type { Figure } from '../figures.ts';
import { cpuPercent, pssMb } from '../processes.ts';
import { runPods, startEdge } from './edge.ts';

const daySeconds = 24 * 3600;

/** @param restSeconds the Node's status goes up every 300 s: less sees either none or too much of it */
export async function benchEdgeMemory(cloud: BenchCloud, restSeconds: number): Promise<Figure[]> {
  const edge = await startEdge(cloud);
  try {
    await runPods(cloud, edge, ['bench-memory']);
    const { processes } = cloud;
    // What the first minute of a node is made of is no rest.
    await cpuPercent(processes.pid(edge.service), 20);
    const before = edge.meter.contentBytes;
    const cpu = await cpuPercent(processes.pid(edge.service), restSeconds);
    const bytes = edge.meter.contentBytes - before;
    return [
      {
        what: 'edgecore memory (PSS), one pod',
        value: await pssMb(processes.pid(edge.service)),
        unit: 'MB',
        budget: { is: 'at most', value: 70 },
        kubeedge: '93 MB',
      },
      { what: 'edgecore processor at rest', value: cpu, unit: '% of a core' },
      {
        what: 'wire of an edge of ours at rest, a day',
        value: (bytes / restSeconds) * (daySeconds / 1e6),
        unit: 'MB',
        budget: { is: 'at most', value: 2 },
        kubeedge: '28 MB',
      },
    ];
  } finally {
    await edge.close();
  }
}
