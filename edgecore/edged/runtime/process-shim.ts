/**
 * The static script that stands between edgecore and a container's command, and the argument lists for it.
 * Nothing of a pod ever becomes script text: all goes in as arguments.
 *
 * `supervise DIR …` outlives edgecore: it runs the command in a session of its own, writes the exit code, ends
 * what the command left behind in its group, and stays until the log writer has read all (`drained`), because
 * a named pipe that nobody holds open forgets what is in it. It opens the pipes for reading and writing, so
 * neither it nor the command is hurt when the log writer is away: output waits in the pipe.
 * A note is complete when its line is: one write by the shell itself, so that no killed tool can lose it.
 * `enter DIR OPS -- CWD ROOT …` mounts, notes its identity (kept through exec) once its root is the container's, for
 * others enter by it from then on, and becomes the command.
 */

import type { MountOp } from './mount-plan.ts';

export const shimScript = String.raw`#!/bin/sh
mode=$1
dir=$2
shift 2

note() {
  printf '%s\n' "$2" >"$dir/$1"
}

fail() {
  note failed "$1"
  exit 128
}

start_of() {
  read -r line <"/proc/$1/stat"
  set -- $line
  shift 21
  printf '%s' "$1"
}

if [ "$mode" = supervise ]; then
  exec </dev/null 3<>"$dir/stdout" 4<>"$dir/stderr" >/dev/null 2>&1
  "$@" >&3 2>&4 3>&- 4>&-
  code=$?
  if [ -s "$dir/pid" ]; then
    read -r pid start <"$dir/pid"
    kill -KILL -- "-$pid"
  fi
  note exit "$code"
  : >"$dir/drained"
  exit 0
fi

while [ "$1" != -- ]; do
  op=$1
  case $op in
    mkdir) said=$(mkdir -p "$2" 2>&1) || fail "mkdir $2: $said"; shift 2 ;;
    touch) said=$( { : >>"$2"; } 2>&1) || fail "create $2: $said"; shift 2 ;;
    link) said=$(ln -s "$2" "$3" 2>&1) || fail "link $3: $said"; shift 3 ;;
    bind) said=$(mount --bind "$2" "$3" 2>&1) || fail "mount $3: $said"; shift 3 ;;
    rbind) said=$(mount --rbind "$2" "$3" 2>&1) || fail "mount $3: $said"; shift 3 ;;
    tmpfs) said=$(mount -t tmpfs -o mode=755 hawser "$2" 2>&1) || fail "mount $2: $said"; shift 2 ;;
    readonly) said=$(mount -o remount,bind,ro "$2" 2>&1) || fail "mount $2 read-only: $said"; shift 2 ;;
    *) fail "unknown step $op" ;;
  esac
done
cwd=$2
root=$3
shift 3
if [ "$root" = / ]; then
  cd "$cwd" 2>/dev/null || fail "workingDir $cwd: no such directory"
  note pid "$$ $(start_of $$)"
  exec "$@"
fi
[ -d "$root$cwd" ] || fail "workingDir $cwd: no such directory"
exec 5>"$dir/pid"
exec chroot "$root" /bin/sh -c 'cd "$1" && printf "%s\n" "$2" >&5 && exec 5>&- && shift 2 && exec "$@"' \
  sh "$cwd" "$$ $(start_of $$)" "$@"
`;

export type Namespace = 'none' | 'root' | 'user';

export interface ShimCommand {
  readonly script: string;
  readonly directory: string;
  readonly namespace: Namespace;
  readonly mounts: readonly MountOp[];
  /** The directory that becomes `/`, or `/` itself. */
  readonly root: string;
  readonly cwd: string;
  readonly user: { readonly uid: number; readonly gid: number } | undefined;
  /** Set last, by `env`: see splitEnv. */
  readonly lateEnv: ReadonlyMap<string, string>;
  readonly argv: readonly string[];
}

/** The arguments for /bin/sh. */
export function shimArguments(it: ShimCommand): string[] {
  const unshare = {
    none: [],
    root: ['unshare', '--mount'],
    user: ['unshare', '--user', '--map-root-user', '--mount'],
  };
  const { user } = it;
  const drop =
    user === undefined
      ? []
      : ['setpriv', '--reuid', String(user.uid), '--regid', String(user.gid), '--clear-groups'];
  const late =
    it.lateEnv.size === 0 ? [] : ['env', ...[...it.lateEnv].map(([name, value]) => `${name}=${value}`)];
  return [
    it.script,
    'supervise',
    it.directory,
    'setsid',
    ...unshare[it.namespace],
    '/bin/sh',
    it.script,
    'enter',
    it.directory,
    ...it.mounts.flat(),
    '--',
    it.cwd,
    it.root,
    ...drop,
    ...late,
    ...it.argv,
  ];
}

const steersTheShim =
  /^(LD_.*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|PATH|IFS|ENV|BASH_ENV|SHELLOPTS|PS[0-9]|OPT.*)$/;

/**
 * Variables that would steer the shell and tools in between (which may run as root), or whose names a shell
 * drops, are set at the very end; the others go by the process environment, where no list of processes shows them.
 */
export function splitEnv(env: ReadonlyMap<string, string>): {
  readonly early: Record<string, string>;
  readonly late: ReadonlyMap<string, string>;
} {
  const early: Record<string, string> = Object.create(null);
  const late = new Map<string, string>();
  for (const [name, value] of env) {
    if (steersTheShim.test(name) || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) late.set(name, value);
    else early[name] = value;
  }
  return { early, late };
}
