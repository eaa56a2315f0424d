/** The requests recorded from a real KubeEdge edge, asked again here: the answers must be the recorded ones. */

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Published, TestEdge } from './test-edge.ts';

interface Recorded {
  readonly topic: string;
  readonly payload: string;
}

interface Step {
  readonly request: Recorded;
  readonly answers: Recorded[];
}

const file = new URL('../../test/data/transcripts/kubeedge-v1.23.1-mqtt.jsonl', import.meta.url);
const recorded = readFileSync(file, 'utf8')
  .trim()
  .split('\n')
  .map((line): Recorded => JSON.parse(line));
const isAnswer = ({ topic }: Recorded) => /\/(result|document|delta|updated)$/.test(topic);
const uploads = ['SYS/dis/upload_records', '$hw/events/upload/x', 'default/user/x'];

/** Answers belong to the request before them; membership news to the cloud, which the test plays. */
const steps: Step[] = [];
for (const message of recorded.filter(({ topic }) => !uploads.includes(topic))) {
  if (message.topic.endsWith('/membership/updated')) steps.push({ request: message, answers: [message] });
  else if (!isAnswer(message)) steps.push({ request: message, answers: [] });
  else steps.at(-1)?.answers.push(message);
}
// The last two requests were sent without waiting, and their answers came mixed.
const overlapping = steps.splice(-2);

const emptyDeviceTopic = '$hw/events/device//twin/update/result';
const ownTopic = '$hw/events/device/default/thermo-1/twin/update/result';

let edge: TestEdge;
beforeAll(async () => {
  edge = await new TestEdge({ node: 'ke-edge-1' }).start();
});
afterAll(() => edge.end());

describe('requests recorded from KubeEdge', () => {
  test.each(
    steps.map((step, at): [string, Step] => [`${at} ${step.request.topic} ${step.request.payload}`, step]),
  )('%s', async (_, { request, answers }) => {
    if (request.topic.endsWith('/membership/updated')) edge.membership(JSON.parse(request.payload));
    else edge.client(request.topic, request.payload);
    const wanted = answers.flatMap(withOurs).map(normal);
    expect((await edge.takePublished(wanted.length)).map(normal)).toEqual(wanted);
  });

  test('two at once: each gets all its answers, in its own order', async () => {
    for (const { request } of overlapping) edge.client(request.topic, request.payload);
    const wanted = overlapping.flatMap(({ answers }) => answers).map((answer) => normal(bodyOf(answer)));
    const got = (await edge.takePublished(wanted.length)).map(normal);
    const part = (all: Published[], name: string) => all.filter(({ topic }) => topic.includes(name));
    for (const name of ['/twin/', '/state/']) expect(part(got, name)).toEqual(part(wanted, name));
  });
});

function bodyOf({ topic, payload }: Recorded): Published {
  return { topic, body: JSON.parse(payload) };
}

/** What we answer where KubeEdge leaves the device out of the topic: the same, and once more where it belongs. */
function withOurs(answer: Recorded): Published[] {
  const published = bodyOf(answer);
  return answer.topic === emptyDeviceTopic ? [published, { ...published, topic: ownTopic }] : [published];
}

/** Without what differs from run to run. Objects are compared without regard to the order of keys. */
function normal({ topic, body }: Published): Published {
  const text = JSON.stringify(body)
    .replace(/"timestamp":\d{2,}/g, '"timestamp":"(time)"')
    .replace(/"lastOnlineTime":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"/, '"lastOnlineTime":"(time)"')
    .replace(/"event_id":"[0-9a-f]{8}-[0-9a-f-]{27}"/, '"event_id":"(new)"')
    // Our topic of an unreadable update names the request where it can be read.
    .replace(/"event_id":"u[78]"/, '"event_id":""')
    // Go's own words for what it could not parse.
    .replace(/(Unmarshal twin info .* failed , err: ).*?"\}$/, '$1…"}');
  return { topic, body: JSON.parse(text) };
}
