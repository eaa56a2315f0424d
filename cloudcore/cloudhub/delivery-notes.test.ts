import { beforeEach, describe, expect, it } from 'vitest';
import { newEnvelope } from '#protocol/message.ts';
import { parseObjectPath } from '#protocol/resource-path.ts';
import { MemoryLedger } from '#test/fixtures/memory-ledger.ts';
import { DeliveryNotes } from './delivery-notes.ts';

const node = 'edge-1';
const key = 'default/pod/a';
const route = { source: 'edgecontroller', group: 'resource', resource: key };
const object = { metadata: { name: 'a', namespace: 'default', uid: 'u1' } };
const sentAs = (operation: string, content: unknown = object) => ({
  path: parseObjectPath(key),
  envelope: newEnvelope({ ...route, operation }, content, { resourceVersion: '7' }),
});

let ledger: MemoryLedger;
let notes: DeliveryNotes;

beforeEach(() => {
  ledger = new MemoryLedger();
  notes = new DeliveryNotes(node, ledger);
});

describe('DeliveryNotes', () => {
  it('notes an object before it is sent, its version when it is acknowledged, and its end', async () => {
    const sent = sentAs('update');
    await notes.beforeSending(sent);
    expect(ledger.heldBy(node).get(key)).toEqual({ uid: 'u1', version: '' });
    notes.acknowledged(sent.envelope.header.msg_id, sent);
    expect(ledger.heldBy(node).get(key)).toEqual({ uid: 'u1', version: '7' });
    const removal = sentAs('delete');
    await notes.beforeSending(removal);
    expect(ledger.heldBy(node).size).toBe(1);
    notes.acknowledged(removal.envelope.header.msg_id, removal);
    expect(ledger.heldBy(node).size).toBe(0);
  });

  it('takes the acknowledgement of an answer that handed out an object, once', async () => {
    const { path, envelope } = sentAs('response');
    await ledger.intend(node, path, 'u1');
    notes.answering(envelope);
    notes.acknowledged('of another message');
    expect(ledger.heldBy(node).get(key)?.version).toBe('');
    notes.acknowledged(envelope.header.msg_id);
    expect(ledger.heldBy(node).get(key)?.version).toBe('7');
    ledger.removed(node, path);
    notes.acknowledged(envelope.header.msg_id);
    expect(ledger.heldBy(node).size).toBe(0);
  });

  it('notes nothing of answers without an object, and of what has no uid', async () => {
    for (const content of ['OK', null, { Object: object, Err: null }, { metadata: { name: 'a' } }]) {
      const sent = sentAs('response', content);
      await notes.beforeSending(sent);
      notes.answering(sent.envelope);
      notes.acknowledged(sent.envelope.header.msg_id);
    }
    expect(ledger.heldBy(node).size).toBe(0);
  });

  it('forgets the oldest answers of an edge that acknowledges none', () => {
    const first = sentAs('response').envelope;
    notes.answering(first);
    for (let n = 0; n < 256; n += 1) notes.answering(sentAs('response').envelope);
    notes.acknowledged(first.header.msg_id);
    expect(ledger.heldBy(node).size).toBe(0);
  });
});
