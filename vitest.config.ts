import { defineConfig } from 'vitest/config';

/** Deadlines only end what hangs: no machine, however slow, may reach one in a test that would pass. */
const patience = { testTimeout: 120_000, hookTimeout: 180_000, expect: { poll: { timeout: 60_000 } } };

const folders = ['protocol', 'beehive', 'apiserver', 'cloudcore', 'edgecore', 'keadm', 'mapper'];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [...folders.map((folder) => `${folder}/**/*.test.ts`), 'test/*.test.ts'],
          ...patience,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          ...patience,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          fileParallelism: false,
          ...patience,
        },
      },
      {
        // Not part of `npm test`: runs of minutes to hours, see docs/fuzzing.md.
        test: {
          name: 'long',
          include: ['test/long/**/*.test.ts'],
          fileParallelism: false,
          ...patience,
        },
      },
    ],
  },
});
