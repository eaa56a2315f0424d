/**
 * Exec, attach and port-forward over the streaming URL that the runtime hands out, as WebSocket messages whose first
 * byte names the channel. The URL is the runtime's and works once.
 */

import { Duplex, PassThrough, type Readable, Writable } from 'node:stream';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { RuntimeError, type StreamSession } from '../runtime-service.ts';

const channel = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4 } as const;
const exitStatusSchema = z.looseObject({
  status: z.string(),
  details: z
    .looseObject({ causes: z.array(z.looseObject({ reason: z.string(), message: z.string() })) })
    .nullish(),
});
const bufferedMax = 1024 * 1024;
const messageMax = 4 * 1024 * 1024;

export async function openStreams(url: string, { stdin }: { stdin: boolean }): Promise<StreamSession> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  let exitCode: number | undefined;
  const socket = dial(url);
  socket.on('message', (data) => {
    const bytes = bytesOf(data);
    const [to, body] = [bytes[0], bytes.subarray(1)];
    if (to === channel.stdout) pass(socket, stdout, body);
    else if (to === channel.stderr) pass(socket, stderr, body);
    else if (to === channel.status) exitCode = exitCodeOf(body.toString('utf8'));
  });
  const ended = new Promise<{ exitCode: number | undefined }>((resolve) => {
    socket.once('close', () => {
      stdout.end();
      stderr.end();
      resolve({ exitCode });
    });
  });
  await opened(socket);
  const send = (to: number, body: Buffer) =>
    new Promise<void>((resolve) => {
      if (socket.readyState !== WebSocket.OPEN) return resolve();
      socket.send(Buffer.concat([Buffer.from([to]), body]), () => resolve());
    });
  const input = new Writable({
    write: (chunk: Buffer, _encoding, done) => void send(channel.stdin, chunk).then(() => done()),
  });
  return {
    stdin: stdin ? input : undefined,
    stdout,
    stderr,
    ended,
    resize: (columns, rows) =>
      void send(channel.resize, Buffer.from(JSON.stringify({ Width: columns, Height: rows }))),
    close: () => socket.close(),
  };
}

/** One port: channel 0 carries its bytes, channel 1 why it failed; each begins with the port as two bytes. */
export async function openPortForward(
  url: string,
  port: number,
): Promise<{ readonly readable: Readable; readonly writable: Writable }> {
  const socket = dial(url, `port=${port}`);
  const greeted = new Set<number>();
  const stream = new Duplex({
    read: () => socket.resume(),
    write(chunk: Buffer, _encoding, done) {
      if (socket.readyState !== WebSocket.OPEN) return done(new Error('the port-forward has ended'));
      socket.send(Buffer.concat([Buffer.from([0]), chunk]), (error) => done(error ?? null));
    },
    final(done) {
      socket.close();
      done();
    },
    destroy(error, done) {
      socket.terminate();
      done(error);
    },
  });
  socket.on('message', (data) => {
    const bytes = bytesOf(data);
    const from = bytes[0] ?? 0;
    if (!greeted.has(from)) {
      greeted.add(from);
      return;
    }
    const body = bytes.subarray(1);
    if (from === 1 && body.length > 0) {
      const why = body.toString('utf8').slice(0, 500);
      stream.destroy(new RuntimeError(`port ${port}: ${why}`, { code: 'refused', what: `port ${port}` }));
    } else if (from === 0 && !stream.push(body)) socket.pause();
  });
  socket.once('close', () => stream.push(null));
  await opened(socket);
  return { readable: stream, writable: stream };
}

function dial(url: string, query?: string): WebSocket {
  const target = new URL(url.replace(/^http/, 'ws'));
  if (query !== undefined) target.search = query;
  return new WebSocket(target, 'v4.channel.k8s.io', { maxPayload: messageMax, handshakeTimeout: 10_000 });
}

/** The first messages may come together with the upgrade, so whoever listens must do so before. */
function opened(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.on('error', (cause) => {
      const what = { code: 'unavailable', what: 'stream' } as const;
      reject(new RuntimeError('the container runtime does not open its stream', what, { cause }));
      socket.terminate();
    });
  });
}

/** A reader that is slow stops the socket, so that nothing piles up here. */
function pass(socket: WebSocket, to: PassThrough, body: Buffer): void {
  if (to.write(body) || to.writableLength < bufferedMax) return;
  socket.pause();
  to.once('drain', () => socket.resume());
}

function exitCodeOf(text: string): number | undefined {
  try {
    const { status, details } = exitStatusSchema.parse(JSON.parse(text));
    if (status === 'Success') return 0;
    const code = details?.causes.find((it) => it.reason === 'ExitCode')?.message;
    return code === undefined ? undefined : Number(code);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

function bytesOf(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
