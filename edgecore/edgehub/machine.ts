/**
 * Which machine this is, as it tells the cloud: a hash of the machine's own id and the data directory, so that
 * several edges fit on one machine, and nobody learns the id itself.
 */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';

const idFiles = ['/etc/machine-id', '/var/lib/dbus/machine-id'];

export function machineOf(dataDir: string): string {
  return createHash('sha256')
    .update(`${machineId()}\n${resolve(dataDir)}`)
    .digest('hex');
}

function machineId(): string {
  for (const file of idFiles) {
    try {
      const id = readFileSync(file, 'utf8').trim();
      if (id !== '') return id;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }
  return hostname();
}
