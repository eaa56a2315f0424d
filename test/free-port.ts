/**
 * TCP ports of loopback for servers that must be told theirs. Test files run side by side, and a port that was free a
 * moment ago may be gone: so they lie below those that the system gives to outgoing connections and to port 0, and in
 * another hundred for each process.
 */

import { createServer } from 'node:net';

const firstPort = 15_000;
const portsPerProcess = 100;
const processes = 170;
let given = 0;

export async function freePort(): Promise<number> {
  const first = firstPort + (process.pid % processes) * portsPerProcess;
  for (let tries = 0; tries < portsPerProcess; tries += 1) {
    const port = first + (given % portsPerProcess);
    given += 1;
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port between ${first} and ${first + portsPerProcess}`);
}

export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
