import { systemClock } from '#beehive/clock.ts';
import { describeRuntimeService } from '#test/suites/runtime-service.suite.ts';
import { createMemoryRuntime } from './memory-runtime.ts';

describeRuntimeService('memory', async () => {
  const runtime = createMemoryRuntime({ clock: systemClock });
  return {
    runtime,
    end: runtime.handle.exit,
    ignoreTerm: runtime.handle.ignoreTerm,
    dispose: () => runtime.close(),
  };
});
