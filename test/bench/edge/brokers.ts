/** Brokers to compare with, each a process of its own: mosquitto, and aedes with nothing around it. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freePorts } from '#test/free-port.ts';
import { MosquittoBroker, mosquittoMissing } from '../../fixtures/mosquitto.ts';

export interface OtherBroker {
  readonly url: string;
  close(): Promise<void>;
}

const bundles = dirname(fileURLToPath(import.meta.url));

export async function startEchoBroker(): Promise<OtherBroker> {
  const child = spawn(process.execPath, [join(bundles, 'echo-broker.js')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const port = await new Promise<string>((resolve) => {
    createInterface({ input: child.stdout }).once('line', resolve);
  });
  return { url: `mqtt://127.0.0.1:${port}`, close: () => end(child) };
}

/** Undefined where there is none. */
export async function startMosquitto(dir: string): Promise<OtherBroker | undefined> {
  if (mosquittoMissing !== undefined) return undefined;
  const [port = 0] = await freePorts(1);
  const broker = new MosquittoBroker(port, dir);
  await broker.start(['allow_anonymous true', 'max_inflight_messages 1000', 'max_queued_messages 10000']);
  return { url: `mqtt://127.0.0.1:${port}`, close: () => broker.stop() };
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}
