/** Topics and filters that a broker takes, and why not others. */

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
