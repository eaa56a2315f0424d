/** `npm run bench -- NAME`: which benchmark, with which flags; prints its figures and, when told, records them. */

import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type BenchCloud, startCloud } from './cloud.ts';
import { benchContainers } from './edge/containers.ts';
import { benchDevices } from './edge/devices.ts';
import { benchEdgeMemory } from './edge/edge-memory.ts';
import { benchEdgePods } from './edge/edge-pods.ts';
import { benchMqtt } from './edge/mqtt.ts';
import { benchRestart } from './edge/restart.ts';
import { benchTwin } from './edge/twin.ts';
import { benchEdges } from './edges/edges.ts';
import { compare, type Figure, record } from './figures.ts';

const usage = `Usage: npm run bench -- NAME [flags]

  edges          simulated KubeEdge edges at a real cloudcore: rates, memory, delivery
    --edges N      how many (default 1000)
    --pods N       how many pods are created in 5 s (default 3 per edge)
    --rest S       how long each state of rest is watched (default 30)

  edge-memory    a real edgecore with one pod: memory, and the wire at rest
    --rest S       how long it rests (default 300: the Node's status goes up every 300 s)
  edge-pods      a real edgecore with no pod, ten, fifty: memory, processor and disk at rest
    --rest S       how long each rests (default 300)
  restart        ten pods of a real edgecore that was killed with them, without a cloud
  containers     pods as containers: one, ten, thirty, a hundred Running and gone (see test/containers/up)
  twin           twin updates over MQTT, one and fifty in flight, and their floors
  mqtt           QoS 1 through the embedded broker, beside mosquitto and a bare aedes
  devices        a thousand devices on one edge: memory, answers, wishes of the cloud

  --api embedded | kubeconfig   the API behind cloudcore; kubeconfig: the cluster of HAWSER_TEST_KUBECONFIG,
                 in whose namespaces kubeedge and default the benchmark writes (default embedded)
  --profile DIR  a processor profile of each daemon
  --record       keep the figures in test/bench/recorded.json and docs/benchmarks.md
`;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    edges: { type: 'string', default: '1000' },
    pods: { type: 'string' },
    rest: { type: 'string' },
    api: { type: 'string', default: 'embedded' },
    profile: { type: 'string' },
    record: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const say = (text: string) => {
  process.stdout.write(`  ${text}\n`);
};

const benchmarks: Readonly<Record<string, (cloud: BenchCloud) => Promise<Figure[]>>> = {
  edges: (cloud) => {
    const edges = Number(flags.edges);
    const pods = Number(flags.pods ?? 3 * edges);
    return benchEdges(cloud, { edges, pods, restSeconds: Number(flags.rest ?? 30) }, say);
  },
  'edge-memory': (cloud) => benchEdgeMemory(cloud, Number(flags.rest ?? 300)),
  'edge-pods': (cloud) => benchEdgePods(cloud, Number(flags.rest ?? 300)),
  containers: benchContainers,
  restart: benchRestart,
  twin: benchTwin,
  mqtt: benchMqtt,
  devices: benchDevices,
};

const [name = ''] = positionals;
const benchmark = benchmarks[name];
if (benchmark === undefined || flags.help) {
  process.stdout.write(usage);
  process.exit(flags.help ? 0 : 2);
}

const dir = await mkdtemp(join(tmpdir(), 'hawser-bench-'));
const options = { dir, kubeConfig: kubeConfig(), nodesMax: 10_000, profileDir: flags.profile };
const [load = 0] = loadavg();
let cloud: BenchCloud | undefined;
try {
  cloud = await startCloud(options);
  const figures = await benchmark(cloud);
  const title = `${name}, ${flags.api === 'embedded' ? 'embedded API' : 'Kubernetes'}`;
  process.stdout.write(`\n${title}\n${await compare(title, figures)}\n`);
  if (flags.record) await record(title, figures, { date: new Date(), load });
} finally {
  await cloud?.close();
  await rm(dir, { recursive: true, force: true });
}

function kubeConfig(): string | undefined {
  if (flags.api === 'embedded') return undefined;
  const file = process.env.HAWSER_TEST_KUBECONFIG;
  if (flags.api === 'kubeconfig' && file !== undefined) return file;
  throw new Error('--api is `embedded`, or `kubeconfig` with HAWSER_TEST_KUBECONFIG set');
}
