/**
 * The recorded KubeEdge cloud, played to a whole edge of ours: what it sends up is, per resource path, what the
 * recorded KubeEdge edge sent, in the same order of first mention; what differs stands with its reason in
 * test/data/replay-cloud-deviations.json, and nothing stands there that did not happen.
 */

import { expect, test } from 'vitest';
import { ManualClock, systemClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { createMemoryRuntime } from '#edgecore/edged/runtime/memory-runtime.ts';
import { client, type TestClient } from '#edgecore/eventbus/test-bus.ts';
import type { Envelope } from '#protocol/message.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { createComparison } from '#test/fixtures/compare-recording.ts';
import { givenCertificates, startEdge } from '#test/fixtures/edge.ts';
import { filesAtRest } from '#test/fixtures/files-at-rest.ts';
import { normalForm } from '#test/fixtures/normal-form.ts';
import { RecordedCloud, type Recording, readRecording } from '#test/fixtures/recorded-cloud.ts';
import { freePort } from '#test/free-port.ts';

const nodeName = 'ke-edge-1';
const stepMs = 100;

const compareFrames = createComparison('replay-cloud-deviations.json', normalForm);

/** What was done at the edge itself in the recording: reports over MQTT. */
interface Report {
  readonly t: number;
  readonly topic: string;
  readonly text: string;
}

const twinTopic = '$hw/events/device/default/thermo-1/twin/update';
const stateTopic = '$hw/events/device/default/thermo-1/state/update';
const temperature = (value: string) => JSON.stringify({ twin: { temperature: { actual: { value } } } });

/** Reports that reached the recorded cloud are as recorded; those that it lost are told by the marks. */
function reportsOf({ frames, marks }: Recording): Report[] {
  const sent = frames.filter(
    ({ up, frame }) =>
      up && `${frame.route.source} ${frame.route.operation}`.match(/^(twin update|bus upload)$/),
  );
  const recorded = sent.map(({ t, frame }): Report => {
    if (frame.route.source === 'bus')
      return { t: t - stepMs, topic: frame.route.resource, text: String(frame.content) };
    if (frame.route.resource.endsWith('/state/update')) {
      const { device } = JSON.parse(String(frame.content)) as { device: { state: string } };
      return { t: t - stepMs, topic: stateTopic, text: JSON.stringify({ state: device.state }) };
    }
    const { twin } = frame.content as { twin: { temperature: { actual: { value: string } } } };
    return { t: t - stepMs, topic: twinTopic, text: temperature(twin.temperature.actual.value) };
  });
  const stopped = marks.find(({ text }) => text.startsWith('cloudcore stopped'));
  const away = stopped === undefined ? undefined : offlineFromMs(frames);
  if (away === undefined) return recorded;
  return [
    ...recorded,
    { t: away + 5_000, topic: twinTopic, text: temperature('30') },
    { t: away + 7_000, topic: twinTopic, text: temperature('31') },
    { t: away + 8_000, topic: stateTopic, text: JSON.stringify({ state: 'offline' }) },
  ];
}

/** The last moment before the long silence. */
function offlineFromMs(frames: Recording['frames']): number {
  const gap = frames.findIndex(({ t }, at) => (frames[at + 1]?.t ?? t) - t > 25_000);
  return (frames[gap]?.t ?? 0) + 100;
}

/** Of a mapper or an app. */
async function report(mqtt: TestClient, { topic, text }: Report): Promise<void> {
  await mqtt.mqtt.publishAsync(topic, text, { qos: 1 });
}

/** What the cloud sends again until it is acknowledged. */
const isObject = ({ header, route }: Envelope) => !header.parent_msg_id && route.group === 'resource';

/** Files and transactions take real time, of which the manual clock knows nothing. */
async function breathe(): Promise<void> {
  await systemClock.sleep(2);
  await filesAtRest();
}

async function play(recording: Recording, before?: Recording): Promise<readonly Envelope[]> {
  const cut = before === undefined ? undefined : offlineFromMs(recording.frames);
  const healed = recording.connects[0] ?? 0;
  const firstT = recording.frames[0]?.t ?? 0;
  const clock = new ManualClock(recording.startMs + (before === undefined ? 0 : firstT - 15_000));
  const network = new MemoryNetwork({ clock, random: seededRandom(2) });
  const cloud = new RecordedCloud(recording, before, clock);
  const listener = await cloud.listen(network);
  const mqttPort = await freePort();
  const edge = await startEdge({
    nodeName,
    transport: network,
    server: 'cloud:10000',
    certificates: givenCertificates({ ca: 'x', cert: 'x', key: 'x' }),
    clock,
    runtime: createMemoryRuntime({ clock }),
    mqtt: { mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${mqttPort}` },
  });
  const mqtt = await client(mqttPort);
  const pushes = recording.frames.filter(({ up, frame }) => !up && !frame.header.parent_msg_id);
  const reports = reportsOf(recording);
  const endT = (recording.frames.at(-1)?.t ?? 0) + 3_000;
  try {
    while (cloud.t < endT) {
      if (cut !== undefined && cloud.t >= cut && cloud.t < healed) network.cut();
      else network.heal();
      for (const due of reports.filter(({ t }) => t <= cloud.t)) {
        reports.splice(reports.indexOf(due), 1);
        await report(mqtt, due);
      }
      while ((pushes[0]?.t ?? Number.POSITIVE_INFINITY) <= cloud.t) {
        const [next] = pushes;
        if (next === undefined || !(await cloud.push(next.frame))) break;
        pushes.shift();
      }
      await clock.advance(stepMs);
      await breathe();
    }
  } finally {
    await mqtt.mqtt.endAsync(true);
    const closing = edge.close();
    for (let n = 0; n < 100; n += 1) {
      await clock.advance(stepMs);
      await systemClock.sleep(1);
    }
    await closing;
    await listener.close();
  }
  expect(pushes).toEqual([]);
  const acknowledged = new Set(cloud.up.map(({ frame }) => frame.header.parent_msg_id));
  const objects = recording.frames.filter(({ up, frame }) => !up && isObject(frame));
  expect(objects.filter(({ frame }) => !acknowledged.has(frame.header.msg_id))).toEqual([]);
  const fromT = before === undefined ? 0 : firstT - stepMs;
  return cloud.up.filter(({ t }) => t >= fromT).map(({ frame }) => frame);
}

async function compare(transcript: string, recording: Recording, before?: Recording): Promise<void> {
  const theirs = recording.frames.filter(({ up }) => up).map(({ frame }) => frame);
  compareFrames({ transcript, theirs, ours: await play(recording, before) });
}

test('the life of a node', async () => {
  await compare('kubeedge-v1.23.1.jsonl', readRecording('kubeedge-v1.23.1.jsonl'));
});

test('a cloud that stops and comes back', async () => {
  const before = readRecording('kubeedge-v1.23.1.jsonl');
  await compare(
    'kubeedge-v1.23.1-reconnect.jsonl',
    readRecording('kubeedge-v1.23.1-reconnect.jsonl'),
    before,
  );
});
