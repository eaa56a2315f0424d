/** Is a TCP port free, and which one is? Asked before a daemon is started, so that the message can help. */

import { createServer } from 'node:net';
import { KeadmError } from './errors.ts';

export function isPortFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** @throws KeadmError `port-taken` */
export async function requirePort(port: number, host: string, use: string, change: string): Promise<void> {
  if (await isPortFree(port, host)) return;
  throw new KeadmError(
    `port ${port} (${use}) is taken on this machine; end what listens there (\`ss -ltnp 'sport = :${port}'\` shows it) or choose another with ${change}`,
    { code: 'port-taken', port, by: use },
  );
}

const triesMax = 200;

/** The first free port from `from` on that is not in `taken`. */
export async function findFreePort(
  from: number,
  host: string,
  taken: ReadonlySet<number> = new Set(),
): Promise<number> {
  for (let port = from; port < from + triesMax; port += 1) {
    if (!taken.has(port) && (await isPortFree(port, host))) return port;
  }
  throw new KeadmError(`no free port between ${from} and ${from + triesMax}`, {
    code: 'port-taken',
    port: from,
    by: 'many',
  });
}
