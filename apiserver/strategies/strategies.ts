/** Which strategy each built-in storage has. */

import { customResourceDefinitionStrategy } from '../crd/definition-strategy.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import {
  claimStrategy,
  configMapStrategy,
  eventStrategy,
  namespaceStrategy,
  nodeStrategy,
  putCreatesStrategy,
  roleBindingStrategy,
  roleStrategy,
  secretStrategy,
  serviceStrategy,
  signingRequestStrategy,
  storedStrategy,
} from './core.ts';
import { podStrategy } from './pod.ts';
import type { Strategy } from './strategy.ts';
import {
  daemonSetStrategy,
  deploymentStrategy,
  jobStrategy,
  replicaSetStrategy,
  statefulSetStrategy,
} from './workloads.ts';

const strategies: ReadonlyMap<string, Strategy> = new Map([
  ['/configmaps', configMapStrategy],
  ['/endpoints', putCreatesStrategy],
  ['/events', eventStrategy],
  ['/namespaces', namespaceStrategy],
  ['/nodes', nodeStrategy],
  ['/persistentvolumeclaims', claimStrategy],
  ['/persistentvolumes', claimStrategy],
  ['/pods', podStrategy],
  ['/secrets', secretStrategy],
  ['/services', serviceStrategy],
  ['apps/daemonsets', daemonSetStrategy],
  ['apps/deployments', deploymentStrategy],
  ['apps/replicasets', replicaSetStrategy],
  ['apps/statefulsets', statefulSetStrategy],
  ['batch/jobs', jobStrategy],
  ['certificates.k8s.io/certificatesigningrequests', signingRequestStrategy],
  ['coordination.k8s.io/leases', putCreatesStrategy],
  ['rbac.authorization.k8s.io/clusterrolebindings', roleBindingStrategy],
  ['rbac.authorization.k8s.io/clusterroles', roleStrategy],
  ['rbac.authorization.k8s.io/rolebindings', roleBindingStrategy],
  ['rbac.authorization.k8s.io/roles', roleStrategy],
  ['apiextensions.k8s.io/customresourcedefinitions', customResourceDefinitionStrategy],
]);

const customStrategy: Strategy = { generation: true };

export function strategyOf(definition: ResourceDefinition): Strategy {
  return definition.custom ? customStrategy : (strategies.get(definition.storage) ?? storedStrategy);
}
