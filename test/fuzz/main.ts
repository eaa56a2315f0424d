/**
 * A fuzzing run in a process of its own (node --expose-gc): `CASES SEED RECORD`. It is no test by itself;
 * run-fuzz.ts starts it, and a test looks at the report. All targets have their turn in each round, and after each
 * a report of what was done so far is printed and appended to RECORD, so a run that is stopped has its record too.
 */

import { appendFileSync } from 'node:fs';
import { Chaos } from './chaos.ts';
import { loadCorpus } from './corpus.ts';
import { edgeTarget } from './edge-target.ts';
import { parserTargets } from './parser-targets.ts';
import type { FuzzReport, TargetReport } from './report.ts';
import { apiServerTarget, bootstrapTarget } from './server-targets.ts';
import type { Target } from './target.ts';

const faultsMax = 20;
const casesPerRound = 100_000;
/**
 * Run before memory is measured: code is compiled, caches are filled, and the servers have their history. V8 goes on
 * compiling for a long time, so in a run of many rounds what counts is what is kept after the first tenth of them.
 */
const warmUp = { share: 0.1, casesMin: 100 };

const [casesText = '1000', seedText = '1', recordFile = ''] = process.argv.slice(2);
const cases = Number(casesText);
const seed = Number(seedText);
const faults: string[] = [];
process.on('uncaughtException', (error) => faults.push(`uncaught: ${error.stack}`));
process.on('unhandledRejection', (error) => faults.push(`unhandled: ${String(error)}`));
// Who started this run is gone, and with it whoever would read the outcome.
process.stdout.on('error', () => process.exit(1));

/** What has been run of one target. */
class TargetRun {
  readonly target: Target;
  readonly #round: number;
  #next = 0;
  #found = { taken: 0, refused: 0, slowestMs: 0, seconds: 0 };

  constructor(target: Target, round: number) {
    this.target = target;
    this.#round = round;
  }

  get report(): TargetReport {
    const { slowestMs, seconds, ...verdicts } = this.#found;
    return {
      name: this.target.name,
      cases: this.#next,
      ...verdicts,
      slowestMs: Math.round(slowestMs),
      seconds: Math.round(seconds * 10) / 10,
    };
  }

  async upTo(count: number): Promise<void> {
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: this.target.atOnce }, () => this.#lane(count)));
    this.#found.seconds += (performance.now() - startedMs) / 1000;
  }

  async #lane(count: number): Promise<void> {
    while (this.#next < count && faults.length < faultsMax) {
      const at = this.#next;
      this.#next += 1;
      const caseSeed = (seed * 1_000_003 + this.#round * 7_919 + at * 31) >>> 0;
      const startedMs = performance.now();
      const startedCpu = process.cpuUsage();
      try {
        const verdict = this.target.run(new Chaos(caseSeed));
        this.#found[typeof verdict === 'string' ? verdict : await verdict] += 1;
      } catch (error) {
        fault(this.target.name, `seed ${caseSeed}`, error);
      }
      // A process of low priority may wait long for its turn, which is no fault of the case.
      const { user, system } = process.cpuUsage(startedCpu);
      const tookMs = Math.min(performance.now() - startedMs, (user + system) / 1000);
      this.#found.slowestMs = Math.max(this.#found.slowestMs, tookMs);
      // Lets timers and sockets have their turn among cases that do not wait.
      if (at % 256 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

const corpus = loadCorpus();
const targets: readonly Target[] = [
  ...(await parserTargets(corpus)),
  edgeTarget(corpus),
  apiServerTarget(corpus),
  await bootstrapTarget(),
];
for (const target of targets) {
  const share = target.share * Math.min(cases, casesPerRound) * warmUp.share;
  await new TargetRun(target, 0).upTo(Math.max(warmUp.casesMin, Math.ceil(share)));
}
let heapBefore = heapAfterCollection();
const runs = targets.map((target, at) => new TargetRun(target, at + 1));
for (let done = 0; done < cases && faults.length < faultsMax; ) {
  done = Math.min(cases, done + casesPerRound);
  for (const run of runs) {
    await run.upTo(Math.ceil(run.target.share * done));
    checkPrototypes(run.target.name);
  }
  if (done < cases) {
    const heap = heapAfterCollection();
    if (done <= cases * warmUp.share) heapBefore = heap;
    tell('runs', heap);
  }
}
const heapAfter = heapAfterCollection();
for (const target of targets) {
  await target.close?.().catch((error: unknown) => fault(target.name, 'at its end', error));
}
tell('done', heapAfter, () => process.exit(0));

function tell(state: FuzzReport['state'], heap: number, then = () => {}): void {
  const report: FuzzReport = {
    state,
    seed,
    at: new Date().toISOString(),
    targets: runs.map((run) => run.report),
    faults,
    heapBefore,
    heapAfter: heap,
  };
  const line = `${JSON.stringify(report)}\n`;
  if (recordFile !== '') appendFileSync(recordFile, line);
  process.stdout.write(line, then);
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
