/**
 * The standard health question of gRPC services (grpc.health.v1), of which one field each way is all there is. Asked
 * over a socket that is destroyed when it is over: gRPC's own client keeps the connection to a server that never says
 * anything.
 */

import { type ClientHttp2Session, connect as connectSession, type IncomingHttpHeaders } from 'node:http2';
import { connect } from 'node:net';

const path = '/grpc.health.v1.Health/Check';
const serving = 1;
const serviceBytesMax = 127;
const answerBytesMax = 1024;
/** Before each message: not compressed, and its length as four bytes. */
const prefixBytes = 5;

interface Health {
  readonly ok: boolean;
  readonly message: string;
}

export async function grpcHealth(
  host: string,
  port: number,
  service: string,
  signal: AbortSignal,
): Promise<Health> {
  const address = host.includes(':') ? `[${host}]` : host;
  const socket = connect({ host, port, signal });
  const session = connectSession(`http://${address}:${port}`, { createConnection: () => socket });
  try {
    return await ask(session, service);
  } finally {
    session.destroy();
    socket.destroy();
  }
}

function ask(session: ClientHttp2Session, service: string): Promise<Health> {
  return new Promise((resolve) => {
    const fail = (message: string) => resolve({ ok: false, message });
    session.on('error', ({ message }) => fail(message));
    session.on('close', () => fail('the connection was closed'));
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    let told: IncomingHttpHeaders = {};
    let answer = Buffer.alloc(0);
    // What fails at once is told in the headers, all else in the trailers.
    const note = (headers: IncomingHttpHeaders) => {
      told = { ...told, ...headers };
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('data', (bytes: Buffer) => {
      answer = Buffer.concat([answer, bytes]);
      if (answer.length > answerBytesMax) fail('the answer is too long');
    });
    stream.on('error', ({ message }) => fail(message));
    stream.on('end', () => resolve(judge(told, answer)));
    stream.end(frame(encodeService(service)));
  });
}

function judge(told: IncomingHttpHeaders, answer: Buffer): Health {
  const code = told['grpc-status'];
  if (code !== '0')
    return { ok: false, message: String(told['grpc-message'] ?? `gRPC status ${code ?? 'unknown'}`) };
  const status = decodeStatus(answer.subarray(prefixBytes));
  if (status === serving) return { ok: true, message: '' };
  return { ok: false, message: `service unhealthy (responded with ${status})` };
}

function frame(message: Buffer): Buffer {
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Field 1, text. */
function encodeService(service: string): Buffer {
  const bytes = Buffer.from(service).subarray(0, serviceBytesMax);
  return bytes.length === 0 ? bytes : Buffer.concat([Buffer.from([0x0a, bytes.length]), bytes]);
}

/** Field 1, a number below 128; absent is 0, unknown. */
function decodeStatus(bytes: Buffer): number {
  return bytes[0] === 0x08 ? (bytes[1] ?? 0) : 0;
}
