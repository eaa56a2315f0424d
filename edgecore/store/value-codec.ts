/** How the values of rows become text and back: the one place that what must not lie readable on the disk passes. */

export interface RowName {
  readonly key: string;
  readonly type: string;
}

/** A row of the table outbox; a number is never given twice. */
export function outboxRowName(id: number): RowName {
  return { key: String(id), type: 'outbox' };
}

export interface ValueCodec {
  /** Types of rows in `meta` whose text is unreadable without the key; rows of the outbox are, too, when there are any. */
  readonly sealedTypes: readonly string[];
  encode(row: RowName, value: unknown): string;
  /** @throws when the text is not what `encode` wrote for this very row. */
  decode(row: RowName, text: string): unknown;
  isSealed(text: string): boolean;
}

export const plainValues: ValueCodec = {
  sealedTypes: [],
  encode: (_row, value) => JSON.stringify(value),
  decode: (_row, text) => JSON.parse(text),
  isSealed: () => false,
};
