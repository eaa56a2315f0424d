import { describe, expect, it } from 'vitest';
import type { JsonObject, KubeObject } from '../kube-object.ts';
import { podSummary, restartsText } from './pod-summary.ts';

function pod(status: JsonObject, spec: JsonObject = {}, metadata: JsonObject = {}): KubeObject {
  const containers = [{ name: 'a' }];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...metadata, name: 'p' },
    spec: { containers, ...spec },
    status,
  };
}

const running = { name: 'a', ready: true, restartCount: 0, state: { running: {} } };
const waiting = (reason: string) => ({ name: 'a', ready: false, state: { waiting: { reason } } });
const ended = (terminated: JsonObject) => ({ name: 'a', ready: false, state: { terminated } });
const one = (status: JsonObject, more: JsonObject = {}) =>
  pod({ phase: 'Running', containerStatuses: [status], ...more });
const deleted = { deletionTimestamp: '2026-01-01T00:00:00Z' };

const init = { initContainers: [{ name: 'i' }, { name: 'j' }] };
const initPod = (...initContainerStatuses: JsonObject[]) =>
  pod({ phase: 'Pending', initContainerStatuses }, init);

describe('the status word of a pod', () => {
  it.each<[string, KubeObject]>([
    ['Pending', pod({ phase: 'Pending' })],
    ['Unknown', pod({})],
    ['Running', one(running)],
    ['ContainerCreating', pod({ phase: 'Pending', containerStatuses: [waiting('ContainerCreating')] })],
    ['CrashLoopBackOff', one(waiting('CrashLoopBackOff'))],
    [
      'Completed',
      pod({ phase: 'Succeeded', containerStatuses: [ended({ exitCode: 0, reason: 'Completed' })] }),
    ],
    ['Error', one(ended({ exitCode: 1, reason: 'Error' }))],
    ['ExitCode:3', one(ended({ exitCode: 3 }))],
    ['Signal:9', one(ended({ exitCode: 137, signal: 9 }))],
    ['Evicted', pod({ phase: 'Failed', reason: 'Evicted' })],
    ['Terminating', { ...one(running), metadata: { name: 'p', ...deleted } }],
    ['Succeeded', pod({ phase: 'Succeeded' }, {}, deleted)],
    ['Unknown', pod({ phase: 'Running', reason: 'NodeLost' }, {}, deleted)],
    [
      'SchedulingGated',
      pod({ phase: 'Pending', conditions: [{ type: 'PodScheduled', reason: 'SchedulingGated' }] }),
    ],
    [
      'Init:0/2',
      initPod(
        { name: 'i', state: { running: {} } },
        { name: 'j', state: { waiting: { reason: 'PodInitializing' } } },
      ),
    ],
    [
      'Init:1/2',
      initPod({ name: 'i', state: { terminated: { exitCode: 0 } } }, { name: 'j', state: { running: {} } }),
    ],
    ['Init:Error', initPod({ name: 'i', state: { terminated: { exitCode: 1, reason: 'Error' } } })],
    ['Init:CrashLoopBackOff', initPod({ name: 'i', state: { waiting: { reason: 'CrashLoopBackOff' } } })],
  ])('%s', (expected, object) => {
    expect(podSummary(object).status).toBe(expected);
  });

  it('tells a pod with one ended container Running or NotReady by its Ready condition', () => {
    const statuses = [
      { ...ended({ exitCode: 0, reason: 'Completed' }), name: 'a' },
      { ...running, name: 'b' },
    ];
    const spec = { containers: [{ name: 'a' }, { name: 'b' }] };
    const with_ = (ready: string) =>
      pod(
        { phase: 'Running', containerStatuses: statuses, conditions: [{ type: 'Ready', status: ready }] },
        spec,
      );
    expect(podSummary(with_('True')).status).toBe('Running');
    expect(podSummary(with_('False'))).toMatchObject({ status: 'NotReady', ready: 1, containers: 2 });
  });

  it('counts a started sidecar as a container', () => {
    const sidecar = { name: 'i', started: true, ready: true, restartCount: 2, state: { running: {} } };
    const object = pod(
      { phase: 'Running', containerStatuses: [running], initContainerStatuses: [sidecar] },
      { initContainers: [{ name: 'i', restartPolicy: 'Always' }] },
    );
    expect(podSummary(object)).toMatchObject({ status: 'Running', ready: 2, containers: 2, restarts: 2 });
  });

  it('says when the last restart was', () => {
    const lastState = { terminated: { finishedAt: '2026-01-01T00:00:00Z' } };
    const summary = podSummary(one({ ...running, restartCount: 3, lastState }));
    expect(restartsText(summary, Date.UTC(2026, 0, 1, 0, 5))).toBe('3 (5m ago)');
    expect(restartsText(podSummary(one(running)), 0)).toBe('0');
  });
});
