#!/usr/bin/env node
/** The command line of keadm: flags and help; the work is in commands/. */

import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { z } from 'zod';
import { systemClock } from '#beehive/clock.ts';
import { rollingTokenId } from '#cloudcore/cloudhub/rolling-token.ts';
import { describeError } from '#protocol/errors.ts';
import { debugCheck } from './commands/debug.ts';
import { getToken } from './commands/gettoken.ts';
import { describeInit, init } from './commands/init.ts';
import { join } from './commands/join.ts';
import { resetCloud, resetEdge } from './commands/reset.ts';
import { createToken, deleteToken, formatTokens, listTokens } from './commands/token.ts';
import { formatVersion } from './commands/version.ts';
import { KeadmError } from './errors.ts';
import {
  checkFlags,
  createTokenFlags,
  initFlags,
  joinFlags,
  parsePort,
  resetFlags,
  type TokenFlags,
  tokenFlags,
  versionFlags,
} from './flags.ts';
import { runHook } from './hook.ts';
import { createHost, type Host } from './host.ts';
import { findCloudAddress, joinCommand } from './join-command.ts';
import { formatFindings, subjects } from './preflight/finding.ts';

const print = (line: string) => {
  process.stdout.write(`${line}\n`);
};
const collect = (value: string, before: string[]) => [...before, value];
const dataDirFlag = [
  '--data-dir <dir>',
  'keep every file, socket and port of this installation below DIR',
] as const;

/** KubeEdge's flags that steer what there is none of here: Helm, images, downloads, hosts of its own to look for. */
const withoutEffect = {
  init: [
    '--kubeedge-version <v>',
    '--profile <p>',
    '--manifests <m>',
    '--files <f>',
    '--external-helm-root <dir>',
    '--image-repository <r>',
  ],
  join: ['--kubeedge-version <v>', '--image-repository <r>', '--tarballpath <dir>'],
  check: ['-d, --domain <name>', '-D, --dns-ip <address>', '-i, --ip <address>'],
};

const preRunFlag = ['--pre-run <file>', 'run this program first'] as const;
const postRunFlag = ['--post-run <file>', 'run this program when all is done'] as const;
const ignoreFlag = [
  '--ignore-preflight-errors <checks>',
  'go on although these checks fail: their names with commas between, or all',
] as const;

const program = new Command('keadm')
  .description('Sets up, joins and removes Hawser clouds and edges.')
  .showHelpAfterError();

addIgnored(program.command('init'), withoutEffect.init)
  .description('set up a cloud on this machine: an embedded Kubernetes API and cloudcore')
  .option(
    '--advertise-address <addresses>',
    'addresses by which edges reach this machine, separated by commas',
  )
  .option('--kube-config <file>', 'use the cluster of this kubeconfig instead of the embedded API')
  .option('--set <path=value>', 'change a field of cloudcore.yaml (may be repeated)', collect, [])
  .option('--api-port <port>', 'port of the embedded API', parsePort, 6443)
  .option('-d, --dry-run', 'print the config and the objects that init would write, and do nothing')
  .option('--force', 'accepted for compatibility: init may always be repeated')
  .option(...ignoreFlag)
  .option(...dataDirFlag)
  .action(async (given) => {
    warnIgnored(given, withoutEffect.init);
    const flags = initFlags.parse(given);
    if (flags.dryRun) return print(await describeInit(flags));
    const cloud = await init(flags, createHost(print));
    const dataDir = flags.dataDir === undefined ? '' : ` --data-dir ${flags.dataDir}`;
    const kubeConfig = flags.kubeConfig === undefined ? '' : ` --kube-config ${flags.kubeConfig}`;
    const certPort = cloud.bootstrapPort === 10002 ? '' : ` --certport=${cloud.bootstrapPort}`;
    print('');
    print(`The cloud is up. Its API: kubectl --kubeconfig ${cloud.kubeConfig} get nodes`);
    print('To add an edge, print a token here');
    print(`  keadm gettoken${kubeConfig}${dataDir}`);
    print('and on the edge machine run');
    print(`  keadm join --cloudcore-ipport=${cloud.cloudcoreIpPort}${certPort} --token=TOKEN`);
  });

withJoinCommand(program.command('gettoken'))
  .description('print the token that `keadm join` takes, and nothing else')
  .option('--kube-config <file>', 'the cluster that cloudcore uses')
  .option(...dataDirFlag)
  .action(async (given) => {
    const flags = tokenFlags.parse(given);
    print(await tokenOrCommand(await getToken(flags), flags));
  });

const token = program
  .command('token')
  .description('join tokens with a lifetime, a number of uses and a node of their own');
withJoinCommand(token.command('create'))
  .description('make a token and print it; its text is nowhere kept')
  .option('--ttl <time>', 'how long it may be used: 24h, 30m, 90s; 0 means for ever', '24h')
  .option('--uses <n>', 'how often it may be used (without it: as often as wanted)')
  .option('--node <name>', 'the one node that may join with it (without it: every node)')
  .option('--kube-config <file>', 'the cluster that cloudcore uses')
  .option(...dataDirFlag)
  .action(async (given) => {
    const flags = createTokenFlags.parse(given);
    print(await tokenOrCommand((await createToken(flags, flags)).text, flags));
  });
token
  .command('list')
  .description('show the tokens that may be used, and how often each was')
  .option('--kube-config <file>', 'the cluster that cloudcore uses')
  .option(...dataDirFlag)
  .action(async (given) => print(formatTokens(await listTokens(tokenFlags.parse(given)), systemClock.now())));
token
  .command('delete <id...>')
  .description('make tokens useless at once, `default` the one of gettoken; nodes that joined with them stay')
  .option('--kube-config <file>', 'the cluster that cloudcore uses')
  .option(...dataDirFlag)
  .action(async (ids: string[], given) => {
    const flags = tokenFlags.parse(given);
    for (const id of ids) {
      await deleteToken(id, flags);
      print(`token ${id} deleted${id === rollingTokenId ? '; `keadm gettoken` prints another' : ''}`);
    }
  });

addIgnored(program.command('join'), withoutEffect.join)
  .description('make this machine an edge node')
  .requiredOption('-e, --cloudcore-ipport <host:port>', 'where CloudHub listens, for example 10.0.0.1:10000')
  .option(
    '-t, --token <token>',
    'what `keadm gettoken` printed on the cloud; `-` reads it from standard input',
  )
  .option('--token-file <file>', 'read the token from a file, so that it does not stand in the process list')
  .option('-i, --edgenode-name <name>', 'name of the node (default: the host name)')
  .option('-s, --certport <port>', 'port of the cloud for certificates', parsePort, 10002)
  .option('-l, --labels <k=v,...>', 'labels of the node')
  .option('-p, --remote-runtime-endpoint <endpoint>', 'socket of containerd or CRI-O')
  .addOption(
    new Option('--runtime <runtime>', 'how containers are run')
      .choices(['auto', 'process', 'cri'])
      .default('auto'),
  )
  .addOption(
    new Option('--hub-protocol <protocol>', 'how the cloud is reached')
      .choices(['websocket', 'quic'])
      .default('websocket'),
  )
  .addOption(
    new Option(
      '--cgroupdriver <driver>',
      "must be the container runtime's own, which is used without this",
    ).choices(['systemd', 'cgroupfs']),
  )
  .option('--certPath <dir>', 'accepted for compatibility: see --data-dir')
  .option('--set <path=value>', 'change a field of edgecore.yaml (may be repeated)', collect, [])
  .option(...preRunFlag)
  .option(...postRunFlag)
  .option(...ignoreFlag)
  .option(...dataDirFlag)
  .action(async (given) => {
    warnIgnored(given, withoutEffect.join);
    const flags = joinFlags.parse(given);
    if (flags.hubProtocol === 'quic') {
      throw new KeadmError('--hub-protocol quic: that transport is not in this version; use websocket', {
        code: 'bad-flag',
        flag: '--hub-protocol',
      });
    }
    const token = readTokenFlag(flags);
    await withHooks(
      {
        ...flags,
        token,
        nodeName: flags.edgenodeName,
        certPort: flags.certport,
        runtimeEndpoint: flags.remoteRuntimeEndpoint,
        cgroupDriver: flags.cgroupdriver,
        cloudcoreIpPort: flags.cloudcoreIpport,
      },
      join,
    );
  });

const reset = program.command('reset').description('stop and remove what init or join has set up');
reset
  .command('cloud')
  .description('remove the cloud from this machine')
  .option('--force', 'accepted for compatibility')
  .option('--kube-config <file>', 'accepted for compatibility: init recorded which one')
  .option(...dataDirFlag)
  .action((given) => resetCloud(resetFlags.parse(given), createHost(print)));
reset
  .command('edge')
  .description('remove the edge from this machine, its pods included')
  .option('--force', 'accepted for compatibility')
  .option(
    '--remote-runtime-endpoint <endpoint>',
    'accepted for compatibility: the config of the edge names it',
  )
  .option(...dataDirFlag)
  .option(...preRunFlag)
  .option(...postRunFlag)
  .action((given) => withHooks(resetFlags.parse(given), resetEdge));

addIgnored(
  program.command('debug').description('find out what is wrong').command('check [what...]'),
  withoutEffect.check,
)
  .description(`make the checks of join and print them all; WHAT: all, ${subjects.join(', ')}`)
  .option('--cloud', 'the checks of init')
  .option('-e, --cloudcore-ipport <host:port>', 'where CloudHub listens (default: as joined)')
  .option('-s, --cloud-hub-server <host:port>', 'the same, by the name that KubeEdge gives it')
  .option('--certport <port>', 'port of the cloud for certificates (default: as joined)', parsePort)
  .option('-c, --config <file>', 'edgecore.yaml (default: that of the edge here)')
  .option('--edgenode-name <name>', 'name of the node (default: as joined)')
  .addOption(
    new Option('--runtime <runtime>', 'how containers are run (default: as joined)').choices([
      'auto',
      'process',
      'cri',
    ]),
  )
  .option(...dataDirFlag)
  .action(async (what: string[], given) => {
    warnIgnored(given, withoutEffect.check);
    const flags = checkFlags.parse(given);
    const options = {
      ...flags,
      cloudcoreIpPort: flags.cloudcoreIpport ?? flags.cloudHubServer,
      certPort: flags.certport,
      nodeName: flags.edgenodeName,
      configFile: flags.config,
    };
    const findings = await debugCheck(what, options, { clock: systemClock });
    for (const line of formatFindings(findings)) print(line);
    if (findings.some(({ verdict }) => verdict === 'fail')) process.exit(1);
  });

program
  .command('version')
  .description('print the version')
  .addOption(
    new Option('-o, --output <format>', 'how').choices(['text', 'yaml', 'json', 'short']).default('text'),
  )
  .action((given) => print(formatVersion(versionFlags.parse(given).output)));

try {
  await program.parseAsync();
  process.exit(0);
} catch (error) {
  process.stderr.write(`keadm: ${describeError(error)}\n`);
  process.exit(1);
}

/** Does the work between the operator's own two programs. */
async function withHooks<O extends { preRun?: string | undefined; postRun?: string | undefined }>(
  options: O,
  work: (options: O, host: Host) => Promise<unknown>,
): Promise<void> {
  const host = createHost(print);
  await runHook('--pre-run', options.preRun, host.steps);
  await work(options, host);
  await runHook('--post-run', options.postRun, host.steps);
}

function withJoinCommand(command: Command): Command {
  return command
    .option('--print-join-command', 'print the whole command for the edge machine')
    .option(
      '-e, --cloudcore-ipport <host:port>',
      'where that command finds CloudHub (default: as configured)',
    )
    .option('-s, --certport <port>', 'its port for certificates (default: as configured)', parsePort);
}

async function tokenOrCommand(text: string, flags: TokenFlags): Promise<string> {
  if (!flags.printJoinCommand) return text;
  const { cloudcoreIpport: cloudcoreIpPort, certport: certPort, dataDir } = flags;
  return joinCommand(await findCloudAddress({ cloudcoreIpPort, certPort, dataDir }), text, flags.node);
}

function addIgnored(command: Command, flags: readonly string[]): Command {
  for (const flag of flags)
    command.addOption(new Option(flag, 'accepted for compatibility, has no effect').hideHelp());
  return command;
}

function warnIgnored(given: Record<string, unknown>, flags: readonly string[]): void {
  for (const option of flags.map((flag) => new Option(flag))) {
    if (given[option.attributeName()] !== undefined)
      process.stderr.write(`keadm: ${option.long} has no effect here\n`);
  }
}

function readTokenFlag(flags: Pick<z.infer<typeof joinFlags>, 'token' | 'tokenFile'>): string {
  const text =
    flags.tokenFile !== undefined
      ? readFileSync(flags.tokenFile, 'utf8')
      : flags.token === '-'
        ? readFileSync(0, 'utf8')
        : flags.token;
  if (text !== undefined && text.trim() !== '') return text.trim();
  throw new KeadmError('no token: give --token TOKEN (print one on the cloud with `keadm gettoken`)', {
    code: 'bad-flag',
    flag: '--token',
  });
}
