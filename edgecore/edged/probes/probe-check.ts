/**
 * Asks a container once, as its probe or hook says: a command inside it, HTTP, TCP or gRPC health. Always ends within
 * the time given, and leaves no socket behind.
 */

import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import type { Clock } from '#beehive/clock.ts';
import { describeError } from '#protocol/errors.ts';
import type { PodContainer, PodProbe } from '../pod/pod.ts';
import { RuntimeError, type RuntimeService } from '../runtime/runtime-service.ts';
import type { ProbeResult } from './probe.ts';

/** What probes and hooks have in common. */
export type CheckAction = Partial<Pick<PodProbe, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'>>;

export interface CheckTarget {
  readonly containerId: string;
  readonly container: PodContainer;
  /** Where the pod's ports are. */
  readonly host: string;
}

export interface CheckComponents {
  readonly runtime: Pick<RuntimeService, 'execSync'>;
  readonly clock: Clock;
}

const messageMax = 1024;
const fine: ProbeResult = { ok: true, message: '' };

export async function check(
  action: CheckAction,
  target: CheckTarget,
  timeoutMs: number,
  { runtime, clock }: CheckComponents,
): Promise<ProbeResult> {
  const done = new AbortController();
  const late = clock.sleep(timeoutMs, done.signal).then(
    () => failed(`no answer within ${timeoutMs / 1000} s`),
    () => failed('given up'),
  );
  try {
    if (action.exec) {
      const { command } = action.exec;
      return await Promise.race([inside(runtime, target.containerId, command, timeoutMs), late]);
    }
    return await Promise.race([over(action, target, done.signal), late]);
  } catch (error) {
    return failed(describeError(error));
  } finally {
    done.abort();
  }
}

async function inside(
  runtime: CheckComponents['runtime'],
  containerId: string,
  command: readonly string[],
  timeoutMs: number,
): Promise<ProbeResult> {
  try {
    const { exitCode, stdout, stderr } = await runtime.execSync(containerId, command, timeoutMs);
    return exitCode === 0 ? fine : failed(`${stdout}${stderr}`.trim() || `exit code ${exitCode}`);
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    return failed(error.code === 'timeout' ? `command timed out after ${timeoutMs / 1000} s` : error.message);
  }
}

async function over(
  action: CheckAction,
  { container, host }: CheckTarget,
  signal: AbortSignal,
): Promise<ProbeResult> {
  if (action.httpGet) {
    const { httpGet } = action;
    return getsAnswer(httpGet, httpGet.host || host, portOf(container, httpGet.port), signal);
  }
  if (action.tcpSocket) {
    const { tcpSocket } = action;
    return connects(tcpSocket.host || host, portOf(container, tcpSocket.port), signal);
  }
  if (action.grpc) {
    const { grpcHealth } = await import('../runtime/cri/grpc-health.ts');
    return grpcHealth(host, action.grpc.port, action.grpc.service ?? '', signal);
  }
  return failed('it names nothing to ask');
}

function portOf(container: PodContainer, port: number | string): number {
  const named = container.ports.find((it) => it.name === port)?.containerPort;
  const number = named ?? Number(port);
  if (!Number.isInteger(number) || number < 1 || number > 65_535)
    throw new Error(`the container has no port ${port}`);
  return number;
}

function getsAnswer(
  { path, scheme, httpHeaders }: NonNullable<PodProbe['httpGet']>,
  host: string,
  port: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const headers: Record<string, string> = {
    'user-agent': 'kube-probe/1.32',
    accept: '*/*',
    connection: 'close',
  };
  for (const { name, value } of httpHeaders) headers[name.toLowerCase()] = value;
  const options = { host, port, path: path || '/', headers, agent: false as const, signal };
  return new Promise((resolve) => {
    // Certificates inside a pod are nobody's business but the pod's.
    const asked =
      scheme === 'HTTPS' ? httpsRequest({ ...options, rejectUnauthorized: false }) : httpRequest(options);
    asked.on('response', (answer) => {
      const code = answer.statusCode ?? 0;
      answer.destroy();
      resolve(code >= 200 && code < 400 ? fine : failed(`HTTP probe failed with statuscode: ${code}`));
    });
    asked.on('error', (error) => resolve(failed(error.message)));
    asked.end();
  });
}

function connects(host: string, port: number, signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, signal });
    socket.once('connect', () => {
      socket.destroy();
      resolve(fine);
    });
    socket.on('error', (error) => resolve(failed(error.message)));
  });
}

function failed(message: string): ProbeResult {
  return { ok: false, message: message.slice(0, messageMax) };
}
