import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { systemRandom } from '#beehive/random.ts';
import { noteServices } from '../host.ts';
import { printSteps } from '../steps.ts';
import type { Service } from './service.ts';
import { createSupervisorHost } from './supervisor-host.ts';
import { createSystemdHost } from './systemd-host.ts';

const service: Service = {
  name: 'edgecore@a',
  description: 'Hawser edgecore',
  argv: ['/usr/bin/node', '/opt/haw ser/edgecore.js', '--config', '/etc/50%/$HOME "x"'],
  logFile: '/var/log/kubeedge/edgecore.log',
  stateDir: '/var/lib/kubeedge',
};
let dir: string;
let asked: string[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hawser-units-'));
  asked = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('with systemd (recorded: its commands are not run here)', () => {
  const host = () => createSystemdHost(async (...args) => void asked.push(args.join(' ')), dir);

  it('a service is a unit that is restarted, whose pods outlive it, and whose log the journal caps', async () => {
    await host().start(service);
    expect(asked).toEqual(['daemon-reload', 'enable edgecore@a.service', 'restart edgecore@a.service']);
    const unit = readFileSync(join(dir, 'edgecore@a.service'), 'utf8');
    expect(unit).toContain(
      'ExecStart=/usr/bin/node "/opt/haw ser/edgecore.js" --config "/etc/50%%/$$HOME \\"x\\""\n',
    );
    for (const line of [
      'Restart=always',
      'KillMode=process',
      'StandardOutput=journal',
      'WantedBy=multi-user.target',
    ])
      expect(unit).toContain(`${line}\n`);
  });

  it('it is removed with its unit, and once only', async () => {
    await host().start(service);
    asked = [];
    await host().remove(service.name, dir);
    await host().remove(service.name, dir);
    expect(asked).toEqual(['disable --now edgecore@a.service', 'daemon-reload']);
    expect(existsSync(join(dir, 'edgecore@a.service'))).toBe(false);
  });
});

it('keadm says what runs the daemons, and where their logs are', () => {
  const lines: string[] = [];
  const common = {
    clock: systemClock,
    random: systemRandom,
    steps: printSteps((line) => lines.push(line), systemClock),
  };
  noteServices([service], { ...common, services: createSystemdHost(async () => {}, dir) });
  noteServices([service], { ...common, services: createSupervisorHost(systemClock) });
  expect(lines).toEqual([
    expect.stringMatching(/systemd runs it \(units edgecore@a\); logs: `journalctl -u edgecore@a\.service`/),
    expect.stringMatching(/no systemd here, .* logs: \/var\/log\/kubeedge\/edgecore\.log$/),
  ]);
});
