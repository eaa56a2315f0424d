import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planRollout, type RolloutSet, share } from './rollout.ts';

const set = (name: string, replicas: number, available = replicas): RolloutSet => ({
  name,
  replicas,
  available,
  pods: replicas,
});
const rolling = { recreate: false, maxSurge: '25%', maxUnavailable: '25%' };

describe('the plan of a rollout', () => {
  it('grows by the surge and shrinks by what may be unavailable', () => {
    const plan = planRollout({ ...rolling, replicas: 4 }, set('new', 0), [set('old', 4)]);
    expect(plan).toEqual(
      new Map([
        ['new', 1],
        ['old', 3],
      ]),
    );
  });

  it('removes what does not work first', () => {
    const plan = planRollout({ ...rolling, replicas: 4 }, set('new', 2), [set('bad', 2, 0), set('old', 2)]);
    expect(plan.get('bad')).toBe(0);
    expect(plan.get('old')).toBe(1);
  });

  it('waits for the old pods to be gone when it recreates', () => {
    const rules = { ...rolling, recreate: true, replicas: 2 };
    expect(planRollout(rules, set('new', 0), [set('old', 2)])).toEqual(new Map([['old', 0]]));
    expect(planRollout(rules, set('new', 0), [{ ...set('old', 0), pods: 1 }])).toEqual(new Map());
    expect(planRollout(rules, set('new', 0), [set('old', 0)])).toEqual(new Map([['new', 2]]));
  });

  it('rounds the surge up and the unavailable down', () => {
    expect(share('25%', 3, Math.ceil)).toBe(1);
    expect(share('25%', 3, Math.floor)).toBe(0);
    expect(share(2, 3, Math.floor)).toBe(2);
    expect(share('x', 3, Math.floor)).toBe(0);
  });

  it('always ends with the new template alone, and never leaves its limits', () => {
    const share_ = fc.oneof(
      fc.integer({ min: 0, max: 5 }),
      fc.integer({ min: 0, max: 100 }).map((p) => `${p}%`),
    );
    const rules = fc.record({
      replicas: fc.integer({ min: 0, max: 12 }),
      maxSurge: share_,
      maxUnavailable: share_,
    });
    fc.assert(
      fc.property(rules, fc.array(fc.integer({ min: 0, max: 8 }), { maxLength: 3 }), (chosen, oldSizes) => {
        const all = { ...chosen, recreate: false };
        const sizes = new Map([['new', 0], ...oldSizes.map((size, i) => [`old${i}`, size] as const)]);
        const sets = () => [...sizes].map(([name, size]) => set(name, size));
        const started = [...sizes.values()].reduce((sum, size) => sum + size, 0);
        const surge = share(all.maxSurge, all.replicas, Math.ceil);
        for (let step = 0; step < 200; step += 1) {
          const [current, ...old] = sets();
          if (current === undefined) throw new Error('no set');
          const plan = planRollout(all, current, old);
          if (plan.size === 0) break;
          for (const [name, size] of plan) sizes.set(name, size);
          const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
          expect(total).toBeLessThanOrEqual(Math.max(started, all.replicas + surge));
        }
        expect([...sizes]).toEqual([['new', all.replicas], ...oldSizes.map((_, i) => [`old${i}`, 0])]);
      }),
    );
  });
});
