/**
 * The README's device section, end to end: a Modbus device joins by YAML, its value moves in `kubectl get devicestatus`,
 * a desired value written with `kubectl patch` arrives at the device. On the embedded and on a real API; the mapper
 * is the bundle, the device a real Modbus server, kubectl the machine's own.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packageRoot } from '#beehive/package-root.ts';
import { freePorts } from '#test/free-port.ts';
import { describeUnless } from '../describe-unless.ts';
import { kubectlFile, needsKubectl, runKubectl } from '../kubectl.ts';
import { type ModbusDevice, needsModbusServer, startModbusDevice } from '../modbus-device.ts';
import { eventually, Workspace } from './workspace.ts';

/** Of the README, from a change at the device to the line of kubectl. */
const movesWithinMs = 2_000;

export function modbusDeviceSuite(apiName: string, lacks: string | undefined, kubeConfig?: string): void {
  describeUnless(needsKubectl ?? needsModbusServer ?? lacks, `a Modbus device on ${apiName}`, () => {
    const run = Math.random().toString(36).slice(2, 8);
    const [node, device] = [`edge-${run}`, `boiler-${run}`];
    const running: ChildProcess[] = [];
    let space: Workspace;
    let boiler: ModbusDevice;
    let dmiSocket: string;
    let mapper: ChildProcess;

    const kubectl = async (...args: string[]): Promise<string> => {
      const { code, out, err } = await runKubectl(access(), args);
      if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${err}`);
      return out;
    };
    const access = () => ({
      kubeconfig: kubeConfig ?? space.adminConf,
      cacheDir: join(space.dir, 'kubectl-cache'),
    });
    const start = (command: string, args: readonly string[]): ChildProcess => {
      const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      running.push(child);
      return child;
    };

    const startMapper = () =>
      start(process.execPath, [
        join(packageRoot(), 'dist/modbus-mapper.js'),
        ...['--edgecore-sock', dmiSocket, '--http-port', '0'],
      ]);

    beforeAll(async () => {
      space = await Workspace.open();
      if (kubeConfig !== undefined) space.useKubeConfig(kubeConfig);
      const flags = kubeConfig === undefined ? [] : ['--kube-config', kubeConfig];
      const cloud = await space.init(...flags);
      expect(cloud, cloud.stderr + cloud.stdout).toMatchObject({ code: 0 });
      const edge = await space.join(node, await space.token());
      expect(edge, edge.stderr + edge.stdout).toMatchObject({ code: 0 });
      dmiSocket = /DMI for mappers on this machine: (\S+)/.exec(edge.stdout)?.[1] ?? '';
      const [port = 0] = await freePorts(1);
      boiler = await startModbusDevice(port);
      mapper = startMapper();
      const yaml = await readFile(join(packageRoot(), 'samples/modbus/boiler.yaml'), 'utf8');
      const ours = yaml
        .replaceAll(/name: boiler(?=[-\n])/g, `name: ${device}`)
        .replace('edge-1', node)
        .replace('1502', String(port));
      const applied = await runKubectl(access(), ['apply', '-f', '-'], ours);
      expect(applied, applied.err).toMatchObject({ code: 0 });
    });

    afterAll(async () => {
      for (const child of running) child.kill('SIGKILL');
      await runKubectl(access(), ['delete', 'devices,devicemodels', device, `${device}-model`]);
      await boiler?.end();
      await space.close();
    });

    it('gets the desired value of its YAML, and its value moves in kubectl within 2 s', async () => {
      await eventually('DeviceStatus', 60_000, () => kubectl('get', 'devicestatus', device));
      const path = '{.status.twins[?(@.propertyName=="water")].reported.value}{"\\n"}';
      const { kubeconfig, cacheDir } = access();
      const watch = start(kubectlFile ?? '', [
        ...['--kubeconfig', kubeconfig, '--cache-dir', cacheDir],
        ...['get', 'devicestatus', device, '--watch', '-o', `jsonpath=${path}`],
      ]);
      const { seen, seenAtMs } = shown(createInterface({ input: watch.stdout ?? process.stdin }));
      await boiler.says('setpoint: 25');
      await seen('25');
      await kubectl('patch', 'device', device, '--type', 'json', '-p', wish('30'));
      await boiler.says('setpoint: 30');
      await seen('30');
      // Of a value that is followed by another within a second the later is written. The quickest: how it is when the
      // machine does nothing else meanwhile.
      const lateMs = ['26', '27', '28', '29', '30'].flatMap((value) => {
        const atMs = seenAtMs.get(value);
        return atMs === undefined ? [] : [atMs - (boiler.saidAtMs.get(`water: ${value}`) ?? 0)];
      });
      expect(Math.min(...lateMs)).toBeLessThan(movesWithinMs);
    });

    it('shows state, wish and value in one line', async () => {
      const line = await eventually('what kubectl prints', 60_000, async () => {
        const out = await kubectl('get', 'devicestatus', device);
        return / online +water +(<none> +)?30 /.test(out) ? out : undefined;
      });
      expect(line).toMatch(/^NAME +STATE +PROPERTY +DESIRED +REPORTED +LAST ONLINE +AGE\n/);
      const path =
        '{range .status.twins[*]}{.propertyName} {.observedDesired.value} {.reported.value}{"\\n"}{end}';
      await eventually('all twins', 60_000, async () =>
        (await kubectl('get', 'devicestatus', device, '-o', `jsonpath=${path}`)) ===
        'water  30\noutside  -10\nsetpoint 30 30\n'
          ? true
          : undefined,
      );
    });

    it('refuses what the model does not allow, and says why in the log of the mapper', async () => {
      const log = createInterface({ input: mapper.stdout ?? process.stdin });
      const complaint = new Promise<string>((resolve) =>
        log.on('line', (line) => {
          if (line.includes('write setpoint')) resolve(line);
        }),
      );
      await kubectl('patch', 'device', device, '--type', 'json', '-p', wish('99'));
      expect(await complaint).toContain('setpoint is from 5 to 85, not 99');
      expect(boiler.saidAtMs.has('setpoint: 99')).toBe(false);
    });

    // It takes the edge its lease of 15 s, and which API it is has no part in that.
    if (kubeConfig !== undefined) return;
    it('is unknown when its mapper has died, and online when there is one again', async () => {
      const watch = start(kubectlFile ?? '', [
        ...['--kubeconfig', access().kubeconfig, '--cache-dir', access().cacheDir],
        ...['get', 'devicestatus', device, '--watch', '-o', 'jsonpath={.status.state}{"\\n"}'],
      ]);
      const state = createInterface({ input: watch.stdout ?? process.stdin });
      const becomes = (wanted: string) =>
        new Promise<void>((resolve) => {
          const look = (line: string) => {
            if (line !== wanted) return;
            state.off('line', look);
            resolve();
          };
          state.on('line', look);
        });
      await becomes('online');
      const unknown = becomes('unknown');
      mapper.kill('SIGKILL');
      await unknown;
      const online = becomes('online');
      mapper = startMapper();
      await online;
    });
  });
}

/** The desired value of the third property, as the README writes it. */
function wish(value: string): string {
  return JSON.stringify([{ op: 'replace', path: '/spec/properties/2/desired/value', value }]);
}

/** What lines came and when, by `performance.now()`, each for the first time. */
function shown(lines: Interface): {
  seen(line: string): Promise<void>;
  seenAtMs: ReadonlyMap<string, number>;
} {
  const seenAtMs = new Map<string, number>();
  lines.on('line', (line) => {
    if (!seenAtMs.has(line)) seenAtMs.set(line, performance.now());
  });
  const seen = (wanted: string) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!seenAtMs.has(wanted)) return;
        lines.off('line', look);
        resolve();
      };
      lines.on('line', look);
      look();
    });
  return { seen, seenAtMs };
}
