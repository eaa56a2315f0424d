/** The command line of cloudcore: flags, config file, signals. */

import { parseArgs } from 'node:util';
import { loadConfig } from '#beehive/config-file.ts';
import { runDaemon } from '#beehive/daemon.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import { formatYaml } from '#beehive/yaml.ts';
import { runCloudcore } from './cloudcore.ts';
import { cloudcoreConfigFormat, cloudcoreConfigSchema } from './config.ts';

const usage = `Usage: cloudcore [--config FILE] [--defaultconfig]

  --config FILE     cloudcore.yaml (default: /etc/kubeedge/config/cloudcore.yaml)
  --defaultconfig   print the config with all defaults and exit
  --help            print this and exit
`;

await runDaemon('cloudcore', async (signal) => {
  const flags = parseFlags(process.argv.slice(2));
  if (flags.help) process.stdout.write(usage);
  else if (flags.defaultconfig) process.stdout.write(formatYaml(cloudcoreConfigSchema.parse({})));
  else await runCloudcore(await loadConfig(flags.config, cloudcoreConfigFormat), signal);
});

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        config: { type: 'string', default: '/etc/kubeedge/config/cloudcore.yaml' },
        defaultconfig: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UnrecoverableError(`${reason}\n${usage}`, { exitCode: 2 });
  }
}
