import { describe, expect, it } from 'vitest';
import { afterReport } from './own-report.ts';

const ready = (status: string) => ({ type: 'Ready', status });
const foreign = { type: 'NetworkUnavailable', status: 'False' };
const stored = {
  kind: 'Node',
  metadata: { name: 'edge-1', uid: 'u1', resourceVersion: '20' },
  spec: { unschedulable: true },
  status: { capacity: { cpu: '4' }, conditions: [ready('False'), foreign] },
};
const answered = (resourceVersion: string, uid = 'u1') => ({
  metadata: { name: 'edge-1', uid, resourceVersion },
});
const report = JSON.stringify({ status: { conditions: [ready('True')] } });

describe('the object after a report of its status', () => {
  it('has the status that was reported, the version of the answer, and what was stored', () => {
    expect(afterReport(stored, report, answered('31'), '20')).toEqual({
      ...stored,
      metadata: { name: 'edge-1', uid: 'u1', resourceVersion: '31' },
      status: { capacity: { cpu: '4' }, conditions: [ready('True'), foreign] },
    });
  });

  it('is known from any version since the last that brought news', () => {
    expect(afterReport(stored, report, answered('31'), '15')?.metadata.resourceVersion).toBe('31');
  });

  it('is not known when what is stored is older, newer, another object or of versions that do not count', () => {
    expect(afterReport(stored, report, answered('31'), '25')).toBeUndefined();
    expect(afterReport(stored, report, answered('19'), '15')).toBeUndefined();
    expect(afterReport(stored, report, answered('31', 'u2'), '20')).toBeUndefined();
    expect(afterReport(stored, report, answered('x'), 'w')).toBeUndefined();
  });

  it('is not known from a report that says no status', () => {
    for (const odd of ['{}', 'no JSON', null, '[]'])
      expect(afterReport(stored, odd, answered('31'), '20')).toBeUndefined();
  });
});
