import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applySteps, difference, type HeldVersion, type Wanted } from './difference.ts';

const path = fc.constantFrom(
  'default/pod/a',
  'default/pod/b',
  'default/secret/a',
  'null/node/n',
  'x/device/d',
);
const uid = fc.constantFrom('u1', 'u2', 'u3');
const version = fc.constantFrom('1', '2', '3', '4');
const heldMap = fc
  .array(fc.tuple(path, fc.record({ uid, version })))
  .map((entries) => new Map<string, HeldVersion>(entries));
const wantedMap = fc
  .array(fc.tuple(path, fc.record({ uid, resourceVersion: version, changedVersion: version })))
  .map((entries) => new Map<string, Wanted>(entries));

describe('difference', () => {
  it('leads to what is wanted when everything may be removed', () => {
    fc.assert(
      fc.property(wantedMap, heldMap, (wanted, held) => {
        const after = applySteps(
          held,
          difference(wanted, held, () => true),
        );
        expect([...after.keys()].sort()).toEqual([...wanted.keys()].sort());
        for (const [at, { uid: wantedUid, resourceVersion, changedVersion }] of wanted) {
          expect(after.get(at)?.uid).toBe(wantedUid);
          expect([resourceVersion, changedVersion]).toContain(after.get(at)?.version);
        }
      }),
    );
  });

  it('is empty the second time', () => {
    fc.assert(
      fc.property(wantedMap, heldMap, (wanted, held) => {
        const after = applySteps(
          held,
          difference(wanted, held, () => true),
        );
        expect(difference(wanted, after, () => true)).toEqual([]);
      }),
    );
  });

  it('removes nothing without a reason, whatever is absent', () => {
    fc.assert(
      fc.property(wantedMap, heldMap, (wanted, held) => {
        const steps = difference(wanted, held, () => false);
        expect(steps.filter((step) => step.do === 'remove')).toEqual([]);
      }),
    );
  });

  it('removes the uid that is held, before another object takes its name', () => {
    const wanted = new Map([['default/pod/a', { uid: 'new', resourceVersion: '9', changedVersion: '9' }]]);
    const held = new Map([['default/pod/a', { uid: 'old', version: '9' }]]);
    expect(difference(wanted, held, () => true)).toEqual([
      { do: 'remove', path: 'default/pod/a', uid: 'old' },
      { do: 'send', path: 'default/pod/a', uid: 'new', version: '9' },
    ]);
  });

  it('sends when the version differs in either direction', () => {
    const wanted = new Map([['default/pod/a', { uid: 'u', resourceVersion: '5', changedVersion: '5' }]]);
    const held = new Map([['default/pod/a', { uid: 'u', version: '7' }]]);
    expect(difference(wanted, held, () => true)).toHaveLength(1);
  });
});
