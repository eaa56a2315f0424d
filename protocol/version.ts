/**
 * What our wire has been, newest first. The catalogue's schemas are hashed by version.test.ts: a change of
 * the wire is made knowingly, with an entry here that says what an older peer will see.
 */

export interface WireVersion {
  readonly date: string;
  readonly what: string;
  /** Of the schemas of all message kinds, as version.test.ts computes it. */
  readonly hash: string;
}

export const wireHistory: readonly WireVersion[] = [
  {
    date: '2026-11-28',
    what: 'rules: calls and answers of ServiceBus; session/held names the topics and URLs that rules asked for; empty texts of a route may be left out',
    hash: 'b5f486ea1dd36a5c',
  },
  {
    date: '2026-11-20',
    what: 'members of a membership may carry attributes, as they may in KubeEdge; our cloud sends none',
    hash: 'b6fb929c09e5eaa1',
  },
  {
    date: '2026-11-20',
    what: 'the answer to session/held names the pods of the node; an edge that does not look for them is none the worse',
    hash: 'ddf0cf77b93f33c7',
  },
  {
    date: '2026-11-20',
    what: 'KubeEdge v1.23.1: nodes, leases, pods, configMaps, secrets, tokens, events, devices; and session/held between our own ends',
    hash: '670197d4785cf49a',
  },
];
