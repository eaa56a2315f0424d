/** How a container of the process runtime is launched: the shim's arguments and environment, or why it cannot be. */

import { join } from 'node:path';
import { planMounts } from './mount-plan.ts';
import { fileView, findExecutable, markVariable } from './process-machine.ts';
import { type Namespace, shimArguments, splitEnv } from './process-shim.ts';
import { type ContainerConfig, type Mount, RuntimeError } from './runtime-service.ts';

const noCommand =
  "the process runtime runs a container's `command` on the host and cannot use image entrypoints: set `command`";
const pathDefault = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** @throws RuntimeError `cannot-create` for what this machine, or this kind of runtime, cannot do. */
export function refuseWhatCannotBe(config: ContainerConfig, mountsRefused: string | undefined): void {
  const refuse = (reason: string) => new RuntimeError(reason, { code: 'cannot-create', name: config.name });
  if (config.command.length === 0) throw refuse(noCommand);
  const texts = [...config.command, ...config.args, ...[...config.env].flat(), config.workingDir ?? ''];
  if (texts.some((text) => text.includes('\0')))
    throw refuse('its command, arguments, variables or working directory hold a NUL character');
  const uid = process.getuid?.();
  if (uid !== 0 && config.runAsUser !== undefined && config.runAsUser !== uid)
    throw refuse(`runAsUser ${config.runAsUser} needs an edgecore that runs as root`);
  if (mountsRefused !== undefined && config.mounts.some((it) => !it.optional))
    throw refuse(`volumes cannot appear at their mountPath: ${mountsRefused}`);
}

export function refuseStart(name: string, reason: string): RuntimeError {
  return new RuntimeError(`cannot start ${name}: ${reason}`, { code: 'cannot-start', name });
}

export interface LaunchSite {
  readonly id: string;
  readonly script: string;
  readonly directory: string;
  readonly namespace: Namespace;
  readonly mounts: readonly Mount[];
  readonly hostname: string;
}

/** @throws RuntimeError `cannot-start`, `cannot-create` */
export async function launch(
  config: ContainerConfig,
  site: LaunchSite,
): Promise<{ readonly args: string[]; readonly env: Record<string, string> }> {
  const { mounts, directory } = site;
  const { ops, root } = await planMounts(mounts, fileView, join(directory, 'root'), config.name);
  const ownPath = process.env.PATH ?? pathDefault;
  const path = config.env.get('PATH') ?? ownPath;
  const cwd = config.workingDir ?? '/';
  const [command = ''] = config.command;
  // With mounts, the program may stand in a volume.
  if (mounts.length === 0 && findExecutable(command, path, cwd) === undefined) {
    const where = command.includes('/') ? '' : ` in PATH ${path}`;
    throw refuseStart(config.name, `"${command}": executable file not found${where}`);
  }
  const { early, late } = splitEnv(config.env);
  const args = shimArguments({
    script: site.script,
    directory,
    namespace: site.namespace,
    mounts: ops,
    root,
    cwd,
    user: userOf(config),
    lateEnv: late,
    argv: [...config.command, ...config.args],
  });
  const env = { HOME: '/', HOSTNAME: site.hostname, ...early, PATH: ownPath, [markVariable]: site.id };
  return { args, env };
}

function userOf({ runAsUser, runAsGroup }: ContainerConfig): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0 || (runAsUser === undefined && runAsGroup === undefined)) return undefined;
  return { uid: runAsUser ?? 0, gid: runAsGroup ?? runAsUser ?? 0 };
}
