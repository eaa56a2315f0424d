/** Go's durations as they stand in config files: `1m30s`, `10s`, `500ms`. */

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

/** Undefined for what is none. */
export function parseDurationMs(text: string): number | undefined {
  if (!/^([0-9.]+(h|ms|m|s))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9.]+)(h|ms|m|s)/g)) {
    ms += Number(amount) * (unitMs[unit ?? ''] ?? Number.NaN);
  }
  return Number.isFinite(ms) ? ms : undefined;
}
