/** The last words of a container in its log, for one that wrote no message about its end. */

import { open } from 'node:fs/promises';

/** As the kubelet's: what does not fit is cut at the front. */
const bytesMax = 2048;
const linesMax = 80;
/** Time, stream and mark stand before each line. */
const readMax = bytesMax + linesMax * 64;

/** Empty where there is no log. */
export async function logTail(path: string): Promise<string> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return '';
  try {
    const { size } = await file.stat();
    const from = Math.max(0, size - readMax);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(readMax), 0, readMax, from);
    const lines = buffer.toString('utf8', 0, bytesRead).split('\n');
    // The first may have lost its beginning.
    const whole = from === 0 ? lines : lines.slice(1);
    const texts = whole.flatMap((line) => /^\S+ (?:stdout|stderr) [FP] (.*)$/.exec(line)?.[1] ?? []);
    return Buffer.from(texts.slice(-linesMax).join('\n')).subarray(-bytesMax).toString('utf8');
  } finally {
    await file.close();
  }
}
