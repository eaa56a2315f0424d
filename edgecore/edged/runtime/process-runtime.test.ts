import { join } from 'node:path';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { describeRuntimeService } from '#test/suites/runtime-service.suite.ts';
import { bundleLogWriter } from './bundled-log-writer.ts';
import { createProcessRuntime, removeProcessRuntime } from './process-runtime.ts';

describeRuntimeService('process', async (directory) => {
  const logWriterFile = await bundleLogWriter(join(directory, 'process-logs.mjs'));
  const root = join(directory, 'state');
  const runtime = createProcessRuntime(
    { root, instance: 'edge-under-test', logWriterFile },
    { clock: systemClock, log: silentLog },
  );
  return {
    runtime,
    dispose: async () => {
      await runtime.close();
      await removeProcessRuntime(root, systemClock);
    },
  };
});
