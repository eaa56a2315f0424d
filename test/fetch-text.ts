import { request } from 'node:http';
import { text } from 'node:stream/consumers';

/** Who does not answer within it may be asked anew: an address of a pod that is gone swallows what it is sent. */
const answerMs = 10_000;

/** The body of the answer, over a connection of its own. */
export function fetchText(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request(url, { agent: false, signal: AbortSignal.timeout(answerMs) }, (answer) => resolve(text(answer)))
      .on('error', reject)
      .end();
  });
}
