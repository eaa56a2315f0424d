/** How the samples are, read from the API as any client would, and told in one line each. */

import type { z } from 'zod';
import { isNotFound, type KubeApi, type ObjectRef } from '#cloudcore/kube/kube-api.ts';
import { deviceStatusSchema } from '#protocol/resources/device-status.ts';
import { nodeSchema } from '#protocol/resources/node.ts';
import { podSchema } from '#protocol/resources/pod.ts';

export interface SampleState {
  readonly nodeReady: boolean;
  readonly podReady: boolean;
  /** What the edge has reported to the cloud since the start; undefined before. */
  readonly reported: string | undefined;
  readonly reportedOverMqtt: string | undefined;
  readonly lines: readonly [node: string, pod: string, device: string];
}

export interface SampleNames {
  readonly node: string;
  readonly pod: string;
  readonly device: string;
  readonly property: string;
  /** The property that an app on the edge reports over MQTT. */
  readonly overMqtt: string;
}

/** What stands in the API from before `sinceMs`, of a former start, does not count. */
export async function readSampleState(
  api: KubeApi,
  names: SampleNames,
  sinceMs: number,
): Promise<SampleState> {
  const pods = { apiVersion: 'v1', plural: 'pods', namespace: 'default' };
  const devices = {
    apiVersion: 'devices.kubeedge.io/v1beta1',
    plural: 'devicestatuses',
    namespace: 'default',
  };
  const [node, pod, device] = await Promise.all([
    read(api, { apiVersion: 'v1', plural: 'nodes', name: names.node }, nodeSchema),
    read(api, { ...pods, name: names.pod }, podSchema),
    read(api, { ...devices, name: names.device }, deviceStatusSchema),
  ]);
  const nodeReady = conditionOf(node?.status?.conditions, 'Ready');
  const podReady = conditionOf(pod?.status?.conditions, 'Ready');
  const container = pod?.status?.containerStatuses?.[0];
  const waiting = container?.state?.waiting;
  const twinOf = (name: string) => device?.status?.twins?.find((entry) => entry.propertyName === name);
  const reportOf = (name: string) => {
    const { value, metadata } = twinOf(name)?.reported ?? {};
    return Number(metadata?.timestamp ?? 0) >= sinceMs && value ? value : undefined;
  };
  const reported = reportOf(names.property);
  const reportedOverMqtt = reportOf(names.overMqtt);
  // Kubernetes' times are whole seconds.
  const isPodNew = Date.parse(container?.state?.running?.startedAt ?? '') >= sinceMs - 1_000;
  const wanted = twinOf(names.property)?.observedDesired?.value;
  return {
    nodeReady: nodeReady?.status === 'True',
    podReady: isPodNew && podReady?.status === 'True',
    reported,
    reportedOverMqtt,
    lines: [
      `node    ${names.node}       ${nodeReady?.status === 'True' ? 'Ready' : `not ready: ${nodeReady?.message ?? 'not registered yet'}`}`,
      `pod     ${names.pod}        ${pod?.status?.phase ?? 'absent'}${describeWait(waiting)}, restarts ${container?.restartCount ?? 0}`,
      `device  ${names.device}  ${names.property} ${reported || 'not reported yet'}${wanted ? `, wanted ${wanted}` : ''}; ${names.overMqtt} ${reportedOverMqtt ?? 'not reported yet'} (by MQTT)`,
    ],
  };
}

function describeWait(
  waiting: { reason?: string | undefined; message?: string | undefined } | null | undefined,
): string {
  if (!waiting?.reason) return '';
  return ` (${waiting.reason}${waiting.message ? `: ${waiting.message}` : ''})`;
}

function conditionOf<C extends { type: string }>(
  conditions: readonly C[] | null | undefined,
  type: string,
): C | undefined {
  return conditions?.find((condition) => condition.type === type);
}

async function read<S extends z.ZodType>(
  api: KubeApi,
  ref: ObjectRef,
  schema: S,
): Promise<z.infer<S> | undefined> {
  try {
    return schema.parse(await api.get(ref));
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
