/**
 * A listener on a unix socket whose path and mode hold from its first moment: it is bound in a directory that nobody
 * else can enter, given its mode, and moved to its place in one step. So no link that somebody put there is
 * followed, and no client finds it with another mode. A socket that a dead process left behind is replaced.
 */

import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
} from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { HawserError } from '../errors.ts';

export class SocketError extends HawserError<{
  code: 'in-use' | 'not-a-socket' | 'too-long';
  path: string;
}> {}

export interface UnixListener {
  close(): Promise<void>;
}

export interface UnixSocketOptions {
  readonly path: string;
  readonly mode: number;
  readonly connectionsMax: number;
}

/** What the kernel takes (sun_path, without the ending zero), less what binding aside needs. */
const pathBytesMax = 100;

/** @throws SocketError; the system's error when the directory may not be written. */
export async function listenUnix(
  { path, mode, connectionsMax }: UnixSocketOptions,
  accept: (socket: Socket) => void,
): Promise<UnixListener> {
  if (Buffer.byteLength(path) > pathBytesMax) {
    const text = `the socket path ${path} is longer than ${pathBytesMax} bytes: choose a shorter directory`;
    throw new SocketError(text, { code: 'too-long', path });
  }
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  await assertFree(path);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    accept(socket);
  });
  server.maxConnections = connectionsMax;
  const aside = mkdtempSync(join(directory, '.d-'));
  let own: Stats;
  try {
    await listen(server, join(aside, 's'));
    chmodSync(join(aside, 's'), mode);
    own = lstatSync(join(aside, 's'));
    renameSync(join(aside, 's'), path);
  } catch (error) {
    server.close();
    rmSync(join(aside, 's'), { force: true });
    throw error;
  } finally {
    rmdirSync(aside);
  }
  return {
    async close() {
      if (lstatSync(path, { throwIfNoEntry: false })?.ino === own.ino) rmSync(path, { force: true });
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Nothing there, or a socket on which nobody listens. A file or link of somebody else is not ours to replace. */
async function assertFree(path: string): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new SocketError(`${path} is no socket: move it away`, { code: 'not-a-socket', path });
  }
  const probe = connect(path);
  const answered = await new Promise<boolean>((resolve) => {
    probe.once('connect', () => resolve(true));
    probe.once('error', () => resolve(false));
  });
  probe.destroy();
  if (answered) {
    throw new SocketError(`another program listens on ${path}: give each its own directory`, {
      code: 'in-use',
      path,
    });
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}
