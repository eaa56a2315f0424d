/** What a client of the embedded broker may do, each rule with its limit; decided on what the broker has counted. */

import { brokerLimits } from '#protocol/limits.ts';
import { isTopicFilter } from '#protocol/topics.ts';

/** Why nobody may publish there, or undefined. */
export function topicRefusal(topic: string): string | undefined {
  if (topic.startsWith('$SYS/')) return '$SYS is the broker’s own';
  if (/[+#\0]/.test(topic)) return 'a topic to publish to has no wildcards';
  return sizeRefusal(topic);
}

export function filterRefusal(filter: string): string | undefined {
  if (!isTopicFilter(filter)) return 'not a topic filter';
  return sizeRefusal(filter);
}

function sizeRefusal(topic: string): string | undefined {
  if (Buffer.byteLength(topic) > brokerLimits.topicBytesMax) {
    return `a topic has at most ${brokerLimits.topicBytesMax} bytes`;
  }
  if (topic.split('/').length > brokerLimits.topicLevelsMax) {
    return `a topic has at most ${brokerLimits.topicLevelsMax} levels`;
  }
  return undefined;
}

/** Counts what is retained. */
export class Retained {
  readonly #bytes = new Map<string, number>();
  #total = 0;

  /** False when there is no room: the message may go out, but is not kept. */
  keep(topic: string, bytes: number): boolean {
    const had = this.#bytes.get(topic) ?? 0;
    const fits =
      bytes === 0 ||
      ((this.#bytes.has(topic) || this.#bytes.size < brokerLimits.retainedMax) &&
        this.#total - had + bytes <= brokerLimits.retainedBytesMax);
    if (!fits) return false;
    this.#total += bytes - had;
    if (bytes === 0) this.#bytes.delete(topic);
    else this.#bytes.set(topic, bytes);
    return true;
  }
}
