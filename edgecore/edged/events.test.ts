import { beforeEach, describe, expect, it } from 'vitest';
import { Bus } from '#beehive/bus.ts';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createEventRecorder, type EventRecorder } from './events.ts';
import { podSchema } from './pod/pod.ts';

interface Sent {
  operation: string;
  event: { metadata: { name: string }; message: string; count: number; involvedObject: object };
}

describe('events', () => {
  let clock: ManualClock;
  let recorder: EventRecorder;
  let sent: Sent[];
  const pod = podSchema.parse({
    metadata: { name: 'web', namespace: 'n', uid: 'u' },
    spec: { containers: [{ name: 'main' }] },
  });
  const say = (message: string, reason = 'Unhealthy') =>
    recorder.pod(pod, 'Warning', reason, message, 'main');

  beforeEach(() => {
    clock = new ManualClock();
    sent = [];
    const bus = new Bus({ clock, log: silentLog });
    bus.open('metamanager', { capacity: 1024, lanesMax: 1 });
    bus.taps.subscribe(({ envelope: { route, content } }) => {
      sent.push({ operation: route.operation, event: content as Sent['event'] });
    });
    recorder = createEventRecorder({ nodeName: 'edge', enabled: true }, { bus, clock });
  });

  it('say about what they are, and count what is said again, at most every ten seconds', async () => {
    say('down');
    expect(sent[0]?.event).toMatchObject({
      count: 1,
      involvedObject: { kind: 'Pod', name: 'web', uid: 'u', fieldPath: 'spec.containers{main}' },
    });
    for (let n = 0; n < 9; n += 1) {
      await clock.advance(1000);
      say('down');
    }
    expect(sent).toHaveLength(1);
    await clock.advance(1000);
    say('down');
    expect(sent).toHaveLength(2);
    expect(sent[1]).toMatchObject({ operation: 'update', event: { count: 11, message: 'down' } });
    expect(sent[1]?.event.metadata.name).toBe(sent[0]?.event.metadata.name);
  });

  it('that differ only in their words become one after ten', async () => {
    for (let n = 0; n < 40; n += 1) {
      say(`answered after ${n} ms`);
      await clock.advance(11_000);
    }
    const names = new Set(sent.map((it) => it.event.metadata.name));
    expect(names.size).toBe(11);
    expect(sent.at(-1)?.event).toMatchObject({
      message: '(combined from similar events): answered after 39 ms',
      count: 30,
    });
    say('another thing', 'BackOff');
    expect(sent.at(-1)?.event.message).toBe('another thing');
    await clock.advance(600_000);
    say('answered after 40 ms');
    expect(sent.at(-1)?.event).toMatchObject({ message: 'answered after 40 ms', count: 1 });
  });
});
