import { expect, test } from 'vitest';
import { limits } from '../limits.ts';
import { RecentChanges } from './recent-changes.ts';

test('large objects leave by their size, small ones by their number', () => {
  const recent = new RecentChanges<{ revision: number }>(0);
  const large = limits.recentEventBytes / 4;
  for (let revision = 1; revision <= 5; revision += 1) recent.add({ revision }, large);
  expect(recent.floor).toBe(3);
  expect(recent.after(0, 10)).toEqual([{ revision: 4 }, { revision: 5 }]);
  for (let revision = 6; revision < 6 + 2 * limits.recentEvents; revision += 1) recent.add({ revision }, 10);
  expect(recent.after(0, 10_000).length).toBeLessThan(2 * limits.recentEvents);
  expect(recent.after(recent.floor, 1)).toEqual([{ revision: recent.floor + 1 }]);
});

test('what is forgotten is below the floor', () => {
  const recent = new RecentChanges<{ revision: number }>(10);
  for (const revision of [12, 15, 18]) recent.add({ revision }, 1);
  recent.forget(15);
  expect(recent.floor).toBe(15);
  expect(recent.after(15, 10)).toEqual([{ revision: 18 }]);
});
