// `npm test`: types, lint, then the unit, integration and end-to-end tests; ends with what ran, what was skipped
// and why, and what failed. HAWSER_TEST_SKIPS=forbidden makes a skip a failure (a machine that has all that the
// tests can use).

import { runStages } from './stages.mjs';

const stages = [
  { name: 'types', script: 'node_modules/typescript/bin/tsc', args: [] },
  { name: 'lint and format', script: 'node_modules/@biomejs/biome/bin/biome', args: ['check', '.'] },
  ...['unit', 'integration', 'e2e'].map((project) => ({
    name: `${project} tests`,
    script: 'node_modules/vitest/vitest.mjs',
    args: [
      'run',
      '--project',
      project,
      '--reporter=default',
      '--reporter=./test/outcome-reporter.ts',
      ...process.argv.slice(2),
    ],
  })),
];

process.exit(await runStages(stages));
