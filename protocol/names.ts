/**
 * The words of the wire: sources, groups and operations, exactly as KubeEdge v1.23 writes them.
 * wire-protocol facts that look odd (EdgeHub calls itself `websocket`) live here and nowhere else.
 */

/** `route.source`: the module that speaks. */
export const source = {
  cloudHub: 'cloudhub',
  edgeController: 'edgecontroller',
  deviceController: 'devicecontroller',
  dynamicController: 'dynamiccontroller',
  policyController: 'policycontroller',
  routerEventBus: 'router_eventbus',
  routerServiceBus: 'router_servicebus',
  taskManager: 'taskmanager',
  edged: 'edged',
  /** EdgeHub on the wire. */
  webSocket: 'websocket',
  /** EdgeHub on the edge's own bus. */
  edgeHub: 'edgehub',
  metaManager: 'metamanager',
  /** MetaManager when it forwards devices to DeviceTwin, and in the acknowledgements of those. */
  meta: 'meta',
  metaServer: 'metaserver',
  twin: 'twin',
  bus: 'bus',
  serviceBus: 'servicebus',
} as const;

/** `route.group`: where the receiver delivers. */
export const group = {
  resource: 'resource',
  func: 'func',
  meta: 'meta',
  twin: 'twin',
  user: 'user',
  hub: 'hub',
  bus: 'bus',
  edged: 'edged',
  taskManager: 'taskmanager',
  /** Messages that only our own two ends exchange, after `Hawser-Session: 1` was agreed. */
  session: 'session',
  /** On the edge's own bus: what EdgeHub itself answers, about the link. */
  link: 'link',
} as const;

export const operation = {
  insert: 'insert',
  update: 'update',
  delete: 'delete',
  patch: 'patch',
  query: 'query',
  get: 'get',
  response: 'response',
  error: 'error',
  upload: 'upload',
  keepalive: 'keepalive',
  connect: 'connect',
  publish: 'publish',
  subscribe: 'subscribe',
  unsubscribe: 'unsubscribe',
  /** ServiceBus: apps at the edge may ask for this URL, or may no longer. */
  start: 'start',
  stop: 'stop',
} as const;

/** Content of a positive acknowledgement. */
export const ok = 'OK';

/** Namespace word for objects that have none. */
export const noNamespace = 'null';

/** `node/connection`, operation connect: what EdgeHub tells the edge's modules. */
export const connection = {
  resource: 'node/connection',
  connected: 'cloud_connected',
  disconnected: 'cloud_disconnected',
} as const;

/** The label by which cloudcore knows a node as an edge node. */
export const edgeRoleLabel = 'node-role.kubernetes.io/edge';

/** On a pod of the API: it only shows a pod that its node runs from a file, whose hash is the value. */
export const mirrorAnnotation = 'kubernetes.io/config.mirror';

/** Namespace of everything that belongs to the platform itself. */
export const systemNamespace = 'kubeedge';

/** Project id that a KubeEdge edge puts into its URL. */
export const defaultProjectId = 'e632aba927ea4ac2b575ec1603d56f10';
