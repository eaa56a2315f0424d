/** A mapper as a program: config file and flags, signals, log. */

import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { systemClock } from '#beehive/clock.ts';
import { loadConfig, parseConfig } from '#beehive/config-file.ts';
import { runDaemon } from '#beehive/daemon.ts';
import { ConfigError, UnrecoverableError } from '#beehive/errors.ts';
import { createLog } from '#beehive/log.ts';
import { systemRandom } from '#beehive/random.ts';
import { formatYaml } from '#beehive/yaml.ts';
import type { DriverClass, MapperDefaults } from '../hawser-mapper.ts';
import { defaultEdgeSocket, type MapperConfig, mapperFormat } from './config.ts';
import { runMapper } from './mapper.ts';

const defaultFile = './config.yaml';

const flags = {
  'config-file': { type: 'string' },
  name: { type: 'string' },
  protocol: { type: 'string' },
  'edgecore-sock': { type: 'string' },
  'socket-path': { type: 'string' },
  address: { type: 'string' },
  'http-port': { type: 'string' },
  help: { type: 'boolean' },
  // KubeEdge's log level, of which deployments of its mappers speak.
  v: { type: 'string' },
} as const;

const usage = (name: string) => `Usage: ${name} [--config-file FILE] [flags]

  --config-file FILE     grpc_server and common, as KubeEdge's mappers have them (${defaultFile} if it is there)
  --name NAME            of this mapper, on its edge
  --protocol NAME        devices whose protocolName is this one are its
  --edgecore-sock PATH   where edgecore listens (default: ${defaultEdgeSocket})
  --socket-path PATH     where edgecore speaks to this mapper (default: NAME.sock beside edgecore's)
  --address ADDRESS      of the REST interface, which has no passwords (default: 127.0.0.1)
  --http-port PORT       of the REST interface; 0: any that is free (default: 7777)
  --v LEVEL              4 and more: say more
  --help                 print this and exit
`;

/** Ends the process when the mapper ends. */
export function runProgram(
  driverClass: DriverClass,
  defaults: MapperDefaults | undefined,
  args: readonly string[],
): Promise<void> {
  const name = defaults?.name ?? 'mapper';
  return runDaemon(name, async (signal) => {
    const values = readFlags(name, args);
    if (values.help) {
      process.stdout.write(usage(name));
      return;
    }
    const config = await mapperConfig(values, defaults);
    const log = createLog({ name: config.common.name, level: Number(values.v ?? 0) >= 4 ? 'debug' : 'info' });
    await runMapper(config, driverClass, { clock: systemClock, random: systemRandom, log }, signal);
  });
}

type Flags = ReturnType<typeof readFlags>;

function readFlags(name: string, args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: flags }).values;
  } catch (error) {
    // parseArgs throws TypeErrors that say which argument is wrong.
    if (!(error instanceof TypeError)) throw error;
    throw new UnrecoverableError(`${error.message}\n${usage(name)}`, { exitCode: 2 });
  }
}

const tree = z.record(z.string(), z.unknown()).nullish();
/** Any fields: what they may be is checked when flags and defaults are in. */
const looseFormat = { schema: z.looseObject({ grpc_server: tree, common: tree }), unused: [] };

/** Flags before the file, the file before the defaults. @throws ConfigError */
export async function mapperConfig(values: Flags, defaults?: MapperDefaults): Promise<MapperConfig> {
  const file = await readFile(values['config-file'], defaults !== undefined);
  const { grpc_server: server, common } = file ?? {};
  const merged: Record<string, unknown> = {
    ...defaults,
    ...common,
    ...given({
      name: values.name,
      protocol: values.protocol,
      edgecore_sock: values['edgecore-sock'],
      address: values.address,
      http_port: values['http-port'],
    }),
  };
  const edge = resolve(textOf(merged.edgecore_sock) ?? defaultEdgeSocket);
  const beside = join(dirname(edge), `${textOf(merged.name) ?? 'mapper'}.sock`);
  const own = values['socket-path'] ?? server?.socket_path;
  const whole = {
    ...file,
    grpc_server: { ...server, socket_path: typeof own === 'string' ? resolve(own) : (own ?? beside) },
    common: { ...merged, edgecore_sock: edge },
  };
  const where = values['config-file'] ?? (file === undefined ? '(command line)' : defaultFile);
  return parseConfig(formatYaml(whole), where, mapperFormat).config;
}

/** Undefined when none is named, the one of the default name is not there, and there are defaults to go by. */
async function readFile(named: string | undefined, optional: boolean) {
  try {
    return (await loadConfig(named ?? defaultFile, looseFormat)).config;
  } catch (error) {
    const isAbsent =
      error instanceof ConfigError && error.cause instanceof Error && 'code' in error.cause
        ? error.cause.code === 'ENOENT'
        : false;
    if (named === undefined && isAbsent && optional) return undefined;
    throw error;
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function given(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  );
}
