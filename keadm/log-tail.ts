/** The last thing that a daemon said, for a message about why it does not run. */

import { readFile } from 'node:fs/promises';
import type { Service, ServiceHost } from './service/service.ts';

const charsMax = 300;

export async function lastLine(service: Service, host: ServiceHost): Promise<string> {
  if (host.kind === 'systemd') return `${host.logOf(service)} says why`;
  try {
    const lines = (await readFile(service.logFile, 'utf8')).trimEnd().split('\n');
    return lines.at(-1)?.slice(0, charsMax) || 'its log is empty';
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'it has no log';
    throw error;
  }
}
