import { defineConfig } from 'vitest/config';

const folders = ['protocol', 'beehive', 'apiserver', 'cloudcore', 'edgecore', 'keadm', 'mapper'];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [...folders.map((folder) => `${folder}/**/*.test.ts`), 'test/*.test.ts'],
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
      {
        // Not part of `npm test`: runs of minutes to hours, see docs/fuzzing.md.
        test: { name: 'long', include: ['test/long/**/*.test.ts'], fileParallelism: false },
      },
    ],
  },
});
