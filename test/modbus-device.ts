/** The boiler of the samples, for tests: a real Modbus TCP server. */

import { spawn, spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '#beehive/clock.ts';
import { packageRoot } from '#beehive/package-root.ts';

const python = '/usr/bin/python3';

export const needsModbusServer =
  spawnSync(python, ['-c', 'import pymodbus.server']).status === 0
    ? undefined
    : 'needs a Modbus server (apt-get install python3-pymodbus python3-serial-asyncio)';

export interface ModbusDevice {
  /** Resolves when it says this, or already has: `setpoint: 21` when that is written to it, `water: 20` when it is so warm. */
  says(line: string): Promise<void>;
  /** When it said what, by `performance.now()`, the last time. */
  readonly saidAtMs: ReadonlyMap<string, number>;
  end(): Promise<void>;
}

/** Resolves when it listens. */
export async function startModbusDevice(port: number): Promise<ModbusDevice> {
  const server = spawn(python, [join(packageRoot(), 'samples/modbus/boiler.py'), String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const lines = createInterface({ input: server.stdout });
  const saidAtMs = new Map<string, number>();
  lines.on('line', (line) => saidAtMs.set(line, performance.now()));
  while (!(await answers(port))) {
    if (server.exitCode !== null) throw new Error(`the Modbus server ended with ${server.exitCode}`);
    await systemClock.sleep(50);
  }
  return {
    saidAtMs,
    says: (wanted) =>
      new Promise((resolve) => {
        const look = () => {
          if (!saidAtMs.has(wanted)) return;
          lines.off('line', look);
          resolve();
        };
        lines.on('line', look);
        look();
      }),
    async end() {
      server.kill('SIGKILL');
      await exited;
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1');
    probe.once('connect', () => resolve(true));
    probe.once('error', () => resolve(false));
    probe.once('connect', () => probe.destroy());
  });
}
