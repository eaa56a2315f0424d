/**
 * A fuzzing run in a process of its own (node --expose-gc): `CASES SEED`. Prints a report as JSON. It is no test by
 * itself; run-fuzz.ts starts it, and a test looks at the report.
 */

import { Chaos } from './chaos.ts';
import { loadCorpus } from './corpus.ts';
import { edgeTarget } from './edge-target.ts';
import { parserTargets } from './parser-targets.ts';
import type { FuzzReport, TargetReport } from './run-fuzz.ts';
import { apiServerTarget, bootstrapTarget } from './server-targets.ts';
import type { Target } from './target.ts';

const faultsMax = 20;
/** Run before memory is measured: code is compiled, caches are filled, and the servers have their history. */
const warmUp = { share: 0.1, casesMin: 100 };

const [cases = 1_000, seed = 1] = process.argv.slice(2).map(Number);
const faults: string[] = [];
process.on('uncaughtException', (error) => faults.push(`uncaught: ${error.stack}`));
process.on('unhandledRejection', (error) => faults.push(`unhandled: ${String(error)}`));

const corpus = loadCorpus();
const targets: readonly Target[] = [
  ...(await parserTargets(corpus)),
  edgeTarget(corpus),
  apiServerTarget(corpus),
  await bootstrapTarget(),
];
const reports: TargetReport[] = [];

for (const target of targets)
  await runTarget(target, Math.max(warmUp.casesMin, Math.ceil(target.share * cases * warmUp.share)), 0);
const heapBefore = heapAfterCollection();
for (const [at, target] of targets.entries()) {
  reports.push(await runTarget(target, Math.ceil(target.share * cases), at + 1));
  checkPrototypes(target.name);
}
const heapAfter = heapAfterCollection();
for (const target of targets) {
  await target.close?.().catch((error: unknown) => fault(target.name, 'at its end', error));
}
const report: FuzzReport = { seed, targets: reports, faults, heapBefore, heapAfter };
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));

async function runTarget(target: Target, count: number, round: number): Promise<TargetReport> {
  const started = performance.now();
  const found = { taken: 0, refused: 0, slowestMs: 0 };
  let next = 0;
  const lane = async () => {
    while (next < count && faults.length < faultsMax) {
      const at = next;
      next += 1;
      const caseSeed = (seed * 1_000_003 + round * 7_919 + at * 31) >>> 0;
      const startedMs = performance.now();
      try {
        const verdict = target.run(new Chaos(caseSeed));
        found[typeof verdict === 'string' ? verdict : await verdict] += 1;
      } catch (error) {
        fault(target.name, `seed ${caseSeed}`, error);
      }
      found.slowestMs = Math.max(found.slowestMs, performance.now() - startedMs);
      // Lets timers and sockets have their turn among cases that do not wait.
      if (at % 256 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: target.atOnce }, lane));
  const { slowestMs, ...verdicts } = found;
  const seconds = (performance.now() - started) / 1000;
  const heap = `${(heapAfterCollection() / 1e6).toFixed(1)} MB`;
  process.stderr.write(`${target.name}: ${count} cases in ${seconds.toFixed(1)} s, heap ${heap}\n`);
  return { name: target.name, cases: count, ...verdicts, slowestMs: Math.round(slowestMs), seconds };
}

function fault(target: string, where: string, error: unknown): void {
  const text = error instanceof Error ? `${error.stack}` : String(error);
  const cause = error instanceof Error && error.cause instanceof Error ? `\n  by ${error.cause.stack}` : '';
  faults.push(`${target}, ${where}: ${text}${cause}`.slice(0, 2_000));
}

function checkPrototypes(target: string): void {
  const polluted = [Object.prototype, Array.prototype, Function.prototype].some(
    (prototype) => Object.keys(prototype).length > 0 || Reflect.get(prototype, 'polluted') !== undefined,
  );
  if (polluted) faults.push(`${target}: a prototype was written to`);
}

function heapAfterCollection(): number {
  for (let round = 0; round < 4; round += 1) globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
