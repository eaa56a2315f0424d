/** Which new pods a node that is short of something takes; pure. */

import type { PodVerdict } from '../pod/plan.ts';
import type { Pod } from '../pod/pod.ts';
import { qosClass } from '../pod/pod-status.ts';
import { isCritical } from './eviction-order.ts';
import type { PressureCondition } from './thresholds.ts';

const memoryTaint = 'node.kubernetes.io/memory-pressure';

/** Undefined: it may run. */
export function refusalUnder(conditions: readonly PressureCondition[], pod: Pod): PodVerdict | undefined {
  // One that has started is none of those that come too late.
  if (conditions.length === 0 || pod.status?.startTime || isCritical(pod)) return undefined;
  const onlyMemory = conditions.every((it) => it === 'MemoryPressure');
  if (onlyMemory && (qosClass(pod) !== 'BestEffort' || toleratesMemoryPressure(pod))) return undefined;
  const message = `Pod was rejected: The node had condition: [${conditions.join(' ')}]. `;
  return { phase: 'Failed', reason: 'Evicted', message };
}

function toleratesMemoryPressure(pod: Pod): boolean {
  return pod.spec.tolerations.some(({ key, operator, value, effect }) => {
    const named = key ? key === memoryTaint && (operator === 'Exists' || !value) : operator === 'Exists';
    return named && (!effect || effect === 'NoSchedule');
  });
}
