/** The command line of edgecore: flags, config file, signals. */

import { parseArgs } from 'node:util';
import { loadConfig } from '#beehive/config-file.ts';
import { runDaemon } from '#beehive/daemon.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import { formatYaml } from '#beehive/yaml.ts';
import { edgecoreConfigSchema, edgecoreFormat } from './config.ts';
import { runEdgecore } from './edgecore.ts';

const usage = `Usage: edgecore [--config FILE] [--defaultconfig]

  --config FILE     edgecore.yaml (default: /etc/kubeedge/config/edgecore.yaml)
  --defaultconfig   print the config with all defaults and exit
  --help            print this and exit
`;

await runDaemon('edgecore', async (signal) => {
  const flags = parseFlags(process.argv.slice(2));
  if (flags.help) process.stdout.write(usage);
  else if (flags.defaultconfig) process.stdout.write(formatYaml(edgecoreConfigSchema.parse({})));
  else await runEdgecore(await loadConfig(flags.config, edgecoreFormat), signal);
});

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        config: { type: 'string', default: '/etc/kubeedge/config/edgecore.yaml' },
        defaultconfig: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UnrecoverableError(`${reason}\n${usage}`, { exitCode: 2 });
  }
}
