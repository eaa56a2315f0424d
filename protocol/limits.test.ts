import { expect, test } from 'vitest';
import {
  bootstrapLimits,
  connectionLimits,
  deliveryLimits,
  frameLimits,
  inboxLimits,
  keepaliveLimits,
  listenerLimits,
  mqttLimits,
  requestLimits,
  sessionLimits,
} from './limits.ts';

test('a beat may be lost without losing the session', () => {
  expect(keepaliveLimits.deadlineMs).toBeGreaterThanOrEqual(2 * keepaliveLimits.periodMs);
});

test('a full window and the answers beside it fit the inbound queue of a KubeEdge edge', () => {
  expect(deliveryLimits.windowMax * 2).toBeLessThan(deliveryLimits.kubeedgeInboundMax);
});

test('all resends of a message end before a request gives up', () => {
  const lastMs = deliveryLimits.resendAfterMs * (deliveryLimits.resendsMax + 1);
  expect(lastMs).toBeLessThan(requestLimits.timeoutMs);
});

test('a full window fits the inbox that it is meant for', () => {
  expect(deliveryLimits.windowMax).toBeLessThan(inboxLimits.metaManager);
  expect(inboxLimits.metaManager).toBeLessThanOrEqual(inboxLimits.edged);
});

test('what MQTT takes in fits a frame, quoted and escaped as text', () => {
  expect(mqttLimits.payloadBytesMax * 6).toBeLessThan(frameLimits.bytesMax);
  expect(mqttLimits.depthMax).toBeLessThan(frameLimits.depthMax);
});

test('the list of held objects fits a frame', () => {
  // 253 bytes each for namespace and name, and uid, version, keys and quotes.
  expect(sessionLimits.heldObjectsMax * 640).toBeLessThanOrEqual(frameLimits.bytesMax);
});

test('the unread buffer is smaller than a frame may be, so one frame can always pass', () => {
  expect(connectionLimits.unreadBytesMax).toBeLessThanOrEqual(frameLimits.bytesMax);
});

test('a peer that holds a place at a listener loses it before the listener is full', () => {
  expect(bootstrapLimits.handshakesMax).toBeLessThan(bootstrapLimits.connectionsMax);
});

test('one address never takes all places of those who are not known yet', () => {
  for (const limits of [listenerLimits, bootstrapLimits])
    expect(limits.handshakesPerAddressMax).toBeLessThan(limits.handshakesMax);
});

test('a handshake of a byte a second is over within 30 s, also when its time is looked at late', () => {
  for (const limits of [listenerLimits, bootstrapLimits])
    expect(limits.handshakeTimeoutMs + limits.checkIntervalMs).toBeLessThan(30_000);
});

test('what an edge may say at once lets a window of answers and acknowledgements through', () => {
  expect(deliveryLimits.upstreamBurst).toBeGreaterThan(deliveryLimits.windowMax * 10);
  expect(deliveryLimits.upstreamPerSecond).toBeGreaterThan(deliveryLimits.kubeedgeUpstreamPerSecond);
});
