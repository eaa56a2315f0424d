/** The order that lists take when items of a patch meet items which only the server has. */

/**
 * Items named by `order` come in that order; the others stay before what they stood before in `previous`.
 * Items are told apart by their keys; where two have the same, the list stays as it is. A strategic merge puts new items before the others
 * as the protocol has it; apply puts them behind.
 */
export function inOrder<T>(
  items: readonly T[],
  keyOf: (item: T) => string,
  order: readonly string[],
  previous: readonly string[],
  newItems: 'before' | 'behind' = 'before',
): T[] {
  const byKey = new Map(items.map((item) => [keyOf(item), item]));
  if (byKey.size !== items.length) return [...items];
  const was = new Map(previous.map((key, index) => [key, index]));
  const named = new Set(order.filter((key) => byKey.has(key)));
  const others = [...byKey.keys()].filter((key) => !named.has(key));
  const result: string[] = [];
  let next = 0;
  for (const key of named) {
    const place = was.get(key) ?? (newItems === 'behind' ? Number.POSITIVE_INFINITY : -1);
    for (let other = others[next]; other !== undefined; other = others[next]) {
      if ((was.get(other) ?? Number.POSITIVE_INFINITY) >= place) break;
      result.push(other);
      next += 1;
    }
    result.push(key);
  }
  return [...result, ...others.slice(next)].flatMap((key) => {
    const item = byKey.get(key);
    return item === undefined ? [] : [item];
  });
}
