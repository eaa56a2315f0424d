/**
 * A token of a service account in a real container, renewed in time: at four fifths of its life, which for the shortest
 * that Kubernetes gives are eight minutes. The clock of edged jumps over them.
 */

import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Clock, systemClock } from '#beehive/clock.ts';
import { criImage, needsCri, openCri, removeAll } from '#test/containers/runtime.ts';
import { describeUnless } from '#test/describe-unless.ts';
import { RunningEdged } from '#test/fixtures/running-edged.ts';
import type { RuntimeService } from '../runtime/runtime-service.ts';

const soon = { interval: 100 };
const lifeMs = 600_000;

describeUnless(needsCri, 'the token of a real container', () => {
  let directory: string;
  let runtime: RuntimeService;
  let edged: RunningEdged;
  let aheadMs: number;
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() + aheadMs,
    monotonicMs: () => systemClock.monotonicMs() + aheadMs,
  };

  beforeEach(async () => {
    aheadMs = 0;
    directory = await mkdtemp(join(tmpdir(), 'hawser-token-'));
    runtime = openCri(`token-${randomUUID()}`);
    await runtime.pullImage(criImage);
    edged = new RunningEdged({ runtime, directory, clock });
  });
  afterEach(async () => {
    await edged.end();
    await removeAll(runtime);
    await runtime.close();
    await rm(directory, { recursive: true, force: true });
  });

  const grant = (token: string) =>
    edged.cloud.objects.set('default/serviceaccounttoken/default', {
      status: { token, expirationTimestamp: new Date(clock.now() + lifeMs).toISOString() },
    });
  const seen = async () => {
    const [container] = await runtime.listContainers();
    const { stdout } = await runtime.execSync(container?.id ?? '', ['cat', '/api/token'], 60_000);
    return stdout.toString();
  };

  it('is another one when four fifths of its life are over, without a restart', async () => {
    grant('first');
    const sources = [{ serviceAccountToken: { path: 'token', expirationSeconds: lifeMs / 1000 } }];
    const pod = {
      containers: [
        {
          name: 'main',
          image: criImage,
          command: ['/bin/sleep', '3600'],
          volumeMounts: [{ name: 'api', mountPath: '/api' }],
        },
      ],
      volumes: [{ name: 'api', projected: { sources } }],
    };
    const uid = randomUUID();
    edged.insert('app', pod, uid);
    await expect.poll(() => edged.phase('app'), soon).toBe('Running');
    expect(await seen()).toBe('first');
    grant('second');
    aheadMs = 0.8 * lifeMs + 1000;
    // A look at the pod asks whether it is time.
    edged.insert('app', pod, uid);
    await expect.poll(seen, soon).toBe('second');
    expect((await runtime.listContainers()).map((it) => it.attempt)).toEqual([0]);
  });
});
