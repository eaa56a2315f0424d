/** Writes what a vitest run did, skips with their reasons included, to the file HAWSER_TEST_OUTCOME. */

import { appendFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

export interface Outcome {
  passed: number;
  failed: number;
  skipped: { name: string; reason: string }[];
}

// biome-ignore lint/style/noDefaultExport: vitest loads a reporter by its default export
export default class OutcomeReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const outcome: Outcome = { passed: 0, failed: errors.length, skipped: [] };
    for (const module of modules) {
      if (module.errors().length > 0) outcome.failed += 1;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'passed') outcome.passed += 1;
        else if (result.state === 'failed') outcome.failed += 1;
        else {
          const note = 'note' in result ? result.note : undefined;
          outcome.skipped.push({
            name: `${module.relativeModuleId} > ${test.fullName}`,
            reason: note ?? 'no reason given',
          });
        }
      }
    }
    const file = process.env.HAWSER_TEST_OUTCOME;
    if (file !== undefined) appendFileSync(file, `${JSON.stringify(outcome)}\n`);
  }
}
