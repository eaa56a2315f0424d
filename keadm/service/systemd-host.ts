/** Services as systemd units. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Service, ServiceHost } from './service.ts';

const unitDir = '/etc/systemd/system';

/** systemd(1): this directory exists when the machine was booted with it. */
export function hasSystemd(): boolean {
  return existsSync('/run/systemd/system');
}

export type Systemctl = (...args: string[]) => Promise<void>;

const systemctl: Systemctl = async (...args) => {
  await promisify(execFile)('systemctl', args);
};

export function createSystemdHost(run: Systemctl = systemctl, dir = unitDir): ServiceHost {
  return {
    kind: 'systemd',
    async start(service) {
      await writeFile(join(dir, unitName(service.name)), unitText(service), { mode: 0o644 });
      await run('daemon-reload');
      await run('enable', unitName(service.name));
      await run('restart', unitName(service.name));
    },
    async remove(name) {
      if (!existsSync(join(dir, unitName(name)))) return;
      await run('disable', '--now', unitName(name));
      await rm(join(dir, unitName(name)));
      await run('daemon-reload');
    },
    async isRunning(name) {
      return run('is-active', '--quiet', unitName(name)).then(
        () => true,
        () => false,
      );
    },
    logOf: ({ name }) => `\`journalctl -u ${unitName(name)}\``,
  };
}

export function unitName(service: string): string {
  return `${service}.service`;
}

/**
 * KillMode=process: what the `process` runtime runs for pods outlives a restart of edgecore. The journal has the
 * log, and caps it: nothing would cap a file that systemd appends to.
 */
export function unitText(service: Service): string {
  return `[Unit]
Description=${service.description}
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=${service.argv.map(quoteArgument).join(' ')}
Restart=always
RestartSec=2
KillMode=process
StandardOutput=journal
StandardError=journal

[Install]
WantedBy=multi-user.target
`;
}

/** systemd.service(5): `%` and `$` are expanded, quotes group words. */
function quoteArgument(argument: string): string {
  const escaped = argument
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replaceAll('%', '%%')
    .replaceAll('$', '$$$$');
  return /[\s"'\\]/.test(argument) ? `"${escaped}"` : escaped;
}
