/** Puts pods on nodes: one pod at a time, again whenever a node or another pod changes what is possible. */

import { type Api, resource } from '../api.ts';
import { cloneJson, type JsonObject, type KubeObject, objectIn, objectsAt, textAt } from '../kube-object.ts';
import { timeText } from '../service/write-context.ts';
import { attempt, type Controller, type ControllerComponents, follow, pause } from './controller.ts';
import { record } from './event-recorder.ts';
import { type NodeLoad, place } from './placement.ts';

const component = 'default-scheduler';
/** Changes within this time are looked at together; the first pod of a round is not held back by it. */
const gatherMs = 20;

export function createScheduler(components: ControllerComponents): Controller {
  const { api, clock, log } = components;
  return {
    name: 'scheduler',
    async run(signal) {
      let wake = () => {};
      const changed = async () => wake();
      const work = async () => {
        while (!signal.aborted) {
          const again = new Promise<void>((resolve) => {
            wake = resolve;
          });
          const waiting = waitingPods(api);
          const loads = waiting.length === 0 ? [] : loadsOf(api);
          for (const pod of waiting) {
            await attempt(log, `pod ${pod.metadata.name}`, () => schedule(components, pod, loads));
          }
          await again;
          await pause(clock, gatherMs, signal);
        }
      };
      signal.addEventListener('abort', () => wake(), { once: true });
      await Promise.all([
        work(),
        follow(components, resource.pods, { signal }, changed),
        follow(components, resource.nodes, { signal }, changed),
      ]);
    },
  };
}

function waitingPods(api: Api): readonly KubeObject[] {
  return api
    .list(resource.pods, { fieldSelector: `spec.nodeName=,spec.schedulerName=${component}` })
    .items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .toSorted((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion));
}

function loadsOf(api: Api): NodeLoad[] {
  const byNode = new Map<string, KubeObject[]>();
  for (const pod of api.list(resource.pods, { fieldSelector: 'spec.nodeName!=' }).items) {
    const phase = textAt(pod, 'status', 'phase');
    const node = textAt(pod, 'spec', 'nodeName') ?? '';
    if (phase === 'Succeeded' || phase === 'Failed') continue;
    byNode.set(node, [...(byNode.get(node) ?? []), pod]);
  }
  return api.list(resource.nodes).items.map((node) => ({ node, pods: byNode.get(node.metadata.name) ?? [] }));
}

/** Keeps `loads` true for the pods of the same round that come after. */
async function schedule(components: ControllerComponents, pod: KubeObject, loads: NodeLoad[]): Promise<void> {
  const placement = place(pod, loads);
  if (placement.node === undefined) return refuse(components, pod, placement.message);
  const { api, clock } = components;
  const { name, namespace = '' } = pod.metadata;
  const at = loads.findIndex(({ node }) => node.metadata.name === placement.node);
  const load = loads[at];
  if (load !== undefined) loads[at] = { node: load.node, pods: [...load.pods, pod] };
  const draft = cloneJson(pod);
  objectIn(draft, 'spec').nodeName = placement.node;
  setCondition(draft, {
    type: 'PodScheduled',
    status: 'True',
    lastProbeTime: null,
    lastTransitionTime: timeText(clock.now()),
  });
  await api.update(resource.pods, draft, 'binding');
  await record(
    { api, clock, component },
    {
      about: pod,
      type: 'Normal',
      reason: 'Scheduled',
      message: `Successfully assigned ${namespace}/${name} to ${placement.node}`,
    },
  );
}

async function refuse({ api, clock }: ControllerComponents, pod: KubeObject, message: string): Promise<void> {
  const known = objectsAt(pod, 'status', 'conditions').find(({ type }) => type === 'PodScheduled');
  if (known?.status === 'False' && known.message === message) return;
  const draft = cloneJson(pod);
  setCondition(draft, {
    type: 'PodScheduled',
    status: 'False',
    reason: 'Unschedulable',
    message,
    lastProbeTime: null,
    lastTransitionTime:
      known?.status === 'False' ? (known.lastTransitionTime ?? null) : timeText(clock.now()),
  });
  await api.update(resource.pods, draft, 'status');
  await record(
    { api, clock, component },
    { about: pod, type: 'Warning', reason: 'FailedScheduling', message },
  );
}

function setCondition(pod: KubeObject, condition: JsonObject): void {
  const status = objectIn(pod, 'status');
  const others = objectsAt(status, 'conditions').filter(({ type }) => type !== condition.type);
  status.conditions = [...others, condition];
}
