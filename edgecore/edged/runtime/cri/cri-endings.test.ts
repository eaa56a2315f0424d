/**
 * A container that ends by itself while containerd 1.6 kills it: the shim is gone, the call fails with "ttrpc:
 * closed", and a later call finds it ended. The race cannot be made at will, so the answers are made up: they hold
 * what the runtime's code looks for, in the form of containerd's own messages. With real ones: cri-starts.test.ts.
 */

import { beforeEach, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { label, type RuntimeService } from '../runtime-service.ts';
import { type CriClient, CriError, type CriMethod } from './cri-client.ts';
import { createCriRuntime } from './cri-runtime.ts';

const instance = 'edge-1';
const shimGone = 'failed to stop container "c1": failed to kill container "c1": ttrpc: closed: unknown';
const taskLeft =
  'failed to delete containerd container "c1": cannot delete running task c1: failed precondition';
const refused = 'failed to stop container "c1": context deadline exceeded: unknown';

/** What the runtime says to the calls of one method, one after the other; `undefined` is an empty answer. */
class ScriptedClient implements CriClient {
  readonly asked: string[] = [];
  readonly #refusals = new Map<string, (string | undefined)[]>();

  refuse(method: CriMethod, ...messages: (string | undefined)[]): void {
    this.#refusals.set(method, messages);
  }

  count(method: CriMethod): number {
    return this.asked.filter((it) => it === method).length;
  }

  async call<S extends z.ZodType>(method: CriMethod, _request: object, answer: S): Promise<z.infer<S>> {
    this.asked.push(method);
    const refusal = this.#refusals.get(method)?.shift();
    if (refusal !== undefined) throw new CriError(refusal, { code: 'cri', status: 'UNKNOWN', method });
    return answer.parse(answers[method] ?? {});
  }

  // biome-ignore lint/correctness/useYield: this runtime has no such stream.
  async *stream(method: CriMethod): AsyncGenerator<never> {
    throw new CriError('unknown method', { code: 'cri', status: 'UNIMPLEMENTED', method });
  }

  close(): void {}
}

const common = { created_at: '1700000000000000000', labels: { [label.instance]: instance } };
const answers: Readonly<Record<string, object>> = {
  'Tasks/Delete': { exit_status: 137 },
  'RuntimeService/ListContainers': {
    containers: [
      {
        ...common,
        id: 'c1',
        metadata: { name: 'main', attempt: 0 },
        state: 'CONTAINER_RUNNING',
        annotations: {},
        pod_sandbox_id: 's1',
      },
    ],
  },
  'RuntimeService/PodSandboxStatus': {
    status: {
      ...common,
      id: 's1',
      metadata: { name: 'web', uid: 'u1', namespace: 'default', attempt: 0 },
      state: 'SANDBOX_READY',
      annotations: {},
    },
  },
};

describe('a container that ends while it is stopped', () => {
  /** Time goes on until the work has ended. */
  async function inTime<T>(work: Promise<T>): Promise<T> {
    let over = false;
    const mark = () => {
      over = true;
    };
    work.then(mark, mark);
    while (!over) await clock.advance(100);
    return work;
  }
  let clock: ManualClock;
  let client: ScriptedClient;
  let runtime: RuntimeService;

  beforeEach(() => {
    clock = new ManualClock();
    client = new ScriptedClient();
    runtime = createCriRuntime({ socket: '', protoFile: '', instance }, { clock, log: silentLog }, client);
  });

  it('is stopped once the runtime has seen its end', async () => {
    client.refuse('RuntimeService/StopContainer', shimGone, shimGone);
    await inTime(runtime.stopContainer('c1', 1000));
    expect(client.count('RuntimeService/StopContainer')).toBe(3);
  });

  it('is stopped with its sandbox, too', async () => {
    client.refuse('RuntimeService/StopPodSandbox', shimGone);
    await inTime(runtime.stopPodSandbox('s1'));
    expect(client.count('RuntimeService/StopPodSandbox')).toBe(2);
  });

  it('is given up when the runtime never sees its end', async () => {
    client.refuse('RuntimeService/StopContainer', ...Array.from({ length: 9 }, () => shimGone));
    await expect(inTime(runtime.stopContainer('c1', 1000))).rejects.toMatchObject({
      code: 'refused',
      message: shimGone,
    });
    expect(client.count('RuntimeService/StopContainer')).toBe(5);
  });

  it('is not asked for again when the runtime refuses for another reason', async () => {
    client.refuse('RuntimeService/StopContainer', refused);
    await expect(runtime.stopContainer('c1', 1000)).rejects.toMatchObject({ message: refused });
    expect(client.count('RuntimeService/StopContainer')).toBe(1);
  });

  it('loses the task that a cut start has left', async () => {
    client.refuse('RuntimeService/RemoveContainer', taskLeft, taskLeft);
    client.refuse('Tasks/Delete', 'task must be stopped before deletion: running: failed precondition');
    await inTime(runtime.removeContainer('c1'));
    const asked = client.asked.filter((it) => /Tasks|Remove/.test(it));
    const round = ['RuntimeService/RemoveContainer', 'Tasks/Kill', 'Tasks/Delete'];
    expect(asked).toEqual([...round, ...round, 'RuntimeService/RemoveContainer']);
  });
});
