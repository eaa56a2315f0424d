import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import type { CloudAnswer } from '../cloud-requests.ts';
import type { RuntimeCondition } from '../runtime/runtime-service.ts';
import { NodeStatus } from './node-status.ts';
import type { PressureCondition } from './thresholds.ts';

const reportSchema = z.object({
  status: z.looseObject({ conditions: z.array(z.looseObject({ type: z.string() })) }),
});
const whole = ['addresses', 'allocatable', 'capacity', 'conditions', 'nodeInfo'];

function setUp() {
  const clock = new ManualClock();
  /** The fields of each report. */
  const reports: string[][] = [];
  const pressures: PressureCondition[] = [];
  let last: readonly { readonly type: string }[] = [];
  const network: RuntimeCondition[] = [];
  const uses = { podNetwork: false };
  const facts = {
    internalIp: '192.0.2.7',
    capacity: { cpu: '4' },
    allocatable: { cpu: '4' },
    machineId: 'm',
    systemUuid: 's',
    bootId: 'b',
    kernelVersion: '6',
    osImage: 'Debian',
    architecture: 'amd64',
  };
  const ask = async (_: string, resource: string, content: unknown): Promise<CloudAnswer> => {
    if (resource.includes('nodepatch')) {
      const { status } = reportSchema.parse(JSON.parse(String(content)));
      reports.push(Object.keys(status).sort());
      last = status.conditions;
    }
    return { kind: 'object', object: { metadata: { name: 'edge-1', uid: 'uid' } } };
  };
  const node = new NodeStatus(
    {
      name: 'edge-1',
      labels: {},
      taints: [],
      register: true,
      schedulable: true,
      kubeletVersion: 'v1',
      kubeletPort: 10_350,
      checkMs: 10_000,
      reportMs: 300_000,
    },
    {
      cloud: { ask },
      facts: async () => facts,
      runtimeStatus: async () => ({
        conditions: network,
        usesImages: false,
        mountsRefused: undefined,
        rotatesLogs: true,
      }),
      images: async () => [],
      needsPodNetwork: () => uses.podNetwork,
      pressures: () => pressures,
      runtimeVersion: { name: 'memory', version: '1' },
      learned: () => {},
      clock,
      log: silentLog,
    },
  );
  const stop = new AbortController();
  const running = node.run(stop.signal);
  const end = async () => {
    stop.abort();
    await clock.advance(10_000);
    await running;
  };
  return { clock, node, reports, pressures, network, uses, conditions: () => last, facts, end };
}

describe('status of the node', () => {
  it('is whole each time at a KubeEdge cloud', async () => {
    const { clock, node, reports, end } = setUp();
    node.connected(false);
    await clock.advance(0);
    await clock.advance(610_000);
    expect(reports.slice(-2)).toEqual([whole, whole]);
    await end();
  });

  it('is its conditions at a cloud of ours, unless something else has changed or the link was lost', async () => {
    const { clock, node, reports, facts, end } = setUp();
    node.connected(true);
    await clock.advance(0);
    reports.length = 0;
    node.connected(true);
    await clock.advance(0);
    await clock.advance(300_000);
    expect(reports).toEqual([whole, ['conditions']]);
    facts.capacity = { cpu: '8' };
    await clock.advance(10_000);
    expect(reports.at(-1)).toEqual(whole);
    await clock.advance(300_000);
    expect(reports.at(-1)).toEqual(['conditions']);
    node.forget();
    await clock.advance(10_000);
    expect(reports.at(-1)).toEqual(whole);
    await end();
  });

  it('is said at once when the control plane takes the node for silent', async () => {
    const { clock, node, reports, end } = setUp();
    node.connected(true);
    await clock.advance(60_000);
    reports.length = 0;
    const seen = (status: string) =>
      node.learn({
        metadata: { name: 'edge-1', uid: 'uid' },
        status: { conditions: [{ type: 'Ready', status }] },
      });
    seen('True');
    await clock.advance(0);
    expect(reports).toEqual([]);
    seen('Unknown');
    seen('Unknown');
    await clock.advance(0);
    expect(reports).toEqual([['conditions']]);
    await clock.advance(60_000);
    expect(reports).toHaveLength(1);
    await end();
  });
});

describe('conditions of the node', () => {
  it('miss a network plugin only while a pod needs one', async () => {
    const { clock, node, network, uses, conditions, end } = setUp();
    const message = 'cni plugin not initialized';
    network.push({ type: 'NetworkReady', ok: false, reason: 'NetworkPluginNotReady', message });
    node.connected(true);
    await clock.advance(0);
    const ready = () => conditions().find((it) => it.type === 'Ready');
    expect(ready()).toMatchObject({ status: 'True', reason: 'KubeletReady' });
    uses.podNetwork = true;
    await clock.advance(10_000);
    expect(ready()).toMatchObject({
      status: 'False',
      reason: 'NetworkPluginNotReady',
      message: `NetworkReady=false, NetworkPluginNotReady: ${message}`,
    });
    network.splice(0);
    await clock.advance(10_000);
    expect(ready()).toMatchObject({ status: 'True', reason: 'KubeletReady' });
    await end();
  });

  it('follow what it is short of, at once when told, with the time of the change', async () => {
    const { clock, node, pressures, conditions, end } = setUp();
    node.connected(true);
    await clock.advance(0);
    const of = (type: string) => conditions().find((it) => it.type === type);
    expect(of('MemoryPressure')).toMatchObject({ status: 'False', reason: 'KubeletHasSufficientMemory' });
    expect(of('DiskPressure')).toMatchObject({ status: 'False', reason: 'KubeletHasNoDiskPressure' });
    expect(of('PIDPressure')).toMatchObject({ status: 'False', reason: 'KubeletHasSufficientPID' });
    await clock.advance(1000);
    pressures.push('DiskPressure');
    node.poke();
    await clock.advance(0);
    expect(of('DiskPressure')).toEqual({
      type: 'DiskPressure',
      status: 'True',
      reason: 'KubeletHasDiskPressure',
      message: 'kubelet has disk pressure',
      lastHeartbeatTime: '2026-01-01T00:00:01Z',
      lastTransitionTime: '2026-01-01T00:00:01Z',
    });
    expect(of('MemoryPressure')).toMatchObject({ lastTransitionTime: '2026-01-01T00:00:00Z' });
    await end();
  });
});
