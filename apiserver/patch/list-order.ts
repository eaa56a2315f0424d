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
  for (const key of named) {
    const place = was.get(key) ?? (newItems === 'behind' ? Number.POSITIVE_INFINITY : -1);
    while (others[0] !== undefined && (was.get(others[0]) ?? Infinity) < place) {
      result.push(others[0]);
      others.shift();
    }
    result.push(key);
  }
  return [...result, ...others].flatMap((key) => {
    const item = byKey.get(key);
    return item === undefined ? [] : [item];
  });
}
