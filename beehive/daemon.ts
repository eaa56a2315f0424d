/** What every daemon's main does: signals become an abort, an error becomes a message and an exit code. */

import { parseArgs } from 'node:util';
import type { z } from 'zod';
import { describeError } from '#protocol/errors.ts';
import { type ConfigFormat, type LoadedConfig, loadConfig } from './config-file.ts';
import { ConfigError, UnrecoverableError } from './errors.ts';
import { formatYaml } from './yaml.ts';

/** Runs until done or SIGINT/SIGTERM; the process exits with 0, or with the error's own code. */
export async function runDaemon(name: string, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  try {
    await run(stop.signal);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${name}: ${describeError(error)}\n`);
    if (error instanceof ConfigError) process.exit(2);
    process.exit(error instanceof UnrecoverableError ? error.detail.exitCode : 1);
  }
}

/** A daemon with one config file: `--config FILE`, `--defaultconfig`, `--help`. */
export function runConfiguredDaemon<S extends z.ZodType>(
  name: string,
  format: ConfigFormat<S>,
  run: (loaded: LoadedConfig<z.infer<S>>, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const file = `/etc/kubeedge/config/${name}.yaml`;
  const usage = `Usage: ${name} [--config FILE] [--defaultconfig]

  --config FILE     ${name}.yaml (default: ${file})
  --defaultconfig   print the config with all defaults and exit
  --help            print this and exit
`;
  return runDaemon(name, async (signal) => {
    const flags = parseFlags(process.argv.slice(2), file, usage);
    if (flags.help) process.stdout.write(usage);
    else if (flags.defaultconfig) process.stdout.write(formatYaml(format.schema.parse({})));
    else await run(await loadConfig(flags.config, format), signal);
  });
}

function parseFlags(args: readonly string[], file: string, usage: string) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        config: { type: 'string', default: file },
        defaultconfig: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    // parseArgs throws TypeErrors that say which argument is wrong.
    if (!(error instanceof TypeError)) throw error;
    throw new UnrecoverableError(`${error.message}\n${usage}`, { exitCode: 2 });
  }
}
