/** Writes what a vitest run did, failures and skips with their reasons included, to the file HAWSER_TEST_OUTCOME. */

import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, SerializedError, TestCase, TestModule } from 'vitest/node';

export interface Outcome {
  passed: number;
  failed: Failure[];
  skipped: { name: string; reason: string }[];
}

/** A test, or a file or run that failed apart from any test, and the first lines that say why. */
export interface Failure {
  name: string;
  lines: string[];
}

const linesMax = 10;
const valueLengthMax = 160;

// biome-ignore lint/style/noDefaultExport: vitest loads a reporter by its default export
export default class OutcomeReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const outcome: Outcome = { passed: 0, failed: [], skipped: [] };
    for (const module of modules) {
      if (module.errors().length > 0)
        outcome.failed.push({ name: module.relativeModuleId, lines: linesOf(module.errors()) });
      for (const suite of module.children.allSuites())
        if (suite.errors().length > 0)
          outcome.failed.push({
            name: `${module.relativeModuleId} > ${suite.fullName}`,
            lines: linesOf(suite.errors()),
          });
      for (const test of module.children.allTests())
        record(outcome, test, `${module.relativeModuleId} > ${test.fullName}`);
    }
    for (const error of errors) outcome.failed.push({ name: unhandledName(error), lines: linesOf([error]) });
    const file = process.env.HAWSER_TEST_OUTCOME;
    if (file !== undefined) writeFileSync(file, JSON.stringify(outcome));
  }
}

function record(outcome: Outcome, test: TestCase, name: string): void {
  const result = test.result();
  if (result.state === 'passed') outcome.passed += 1;
  else if (result.state === 'failed') outcome.failed.push({ name, lines: linesOf(result.errors) });
  else {
    const note = 'note' in result ? result.note : undefined;
    outcome.skipped.push({ name, reason: note ?? 'no reason given' });
  }
}

function unhandledName(error: SerializedError): string {
  const during = error.VITEST_TEST_NAME;
  return typeof during === 'string' ? `unhandled error, during ${during}` : 'unhandled error';
}

/** The place first, since a long message may push out what follows it. */
function linesOf(errors: readonly SerializedError[]): string[] {
  const lines = errors.flatMap((error) => [
    ...placeOf(error),
    ...stripVTControlCharacters(`${error.name ?? 'Error'}: ${error.message}`).split('\n'),
    ...valueLine('expected', error.expected),
    ...valueLine('received', error.actual),
  ]);
  return lines.filter((line) => line.trim() !== '').slice(0, linesMax);
}

function placeOf({ stacks }: SerializedError): string[] {
  const at = stacks?.[0];
  return at === undefined ? [] : [`at ${relative(process.cwd(), at.file)}:${at.line}:${at.column}`];
}

function valueLine(label: string, value: unknown): string[] {
  if (typeof value !== 'string') return [];
  return [`${label} ${stripVTControlCharacters(value).replaceAll(/\s+/g, ' ').slice(0, valueLengthMax)}`];
}
