/** The counters of CloudHub, made once and shared by its sessions. */

import type { Metrics } from '#beehive/metrics.ts';

export type CloudHubMetrics = ReturnType<typeof createCloudHubMetrics>;

export function createCloudHubMetrics(metrics: Metrics) {
  const name = (what: string) => `hawser_cloudhub_${what}`;
  return {
    joinRequests: metrics.counter(name('join_requests_total'), 'Requests to the join port, by status.', [
      'status',
    ]),
    sessions: metrics.gauge(name('sessions'), 'Edge nodes connected now.'),
    refusals: metrics.counter(name('refusals_total'), 'Connections refused, by status.', ['status']),
    received: metrics.counter(name('received_total'), 'Messages from edges, by what became of them.', [
      'kind',
    ]),
    dropped: metrics.counter(name('dropped_total'), 'Messages from edges that went nowhere, by reason.', [
      'reason',
    ]),
    sent: metrics.counter(name('sent_total'), 'Messages sent to edges.'),
    resent: metrics.counter(
      name('resent_total'),
      'Object messages sent again for want of an acknowledgement.',
    ),
    leases: metrics.counter(
      name('lease_renewals_total'),
      'Beats of our own edges that were due as a renewal of the Lease, by what became of them.',
      ['outcome'],
    ),
    undeliverable: metrics.counter(
      name('undeliverable_total'),
      'Messages of controllers for nodes that are not connected.',
    ),
  };
}
