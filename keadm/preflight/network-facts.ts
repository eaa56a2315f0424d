/** What pre-flight knows of the network: ports of this machine, and the cloud as it is seen from here. */

import { lookup } from 'node:dns/promises';
import { connect, isIP, type NetConnectOpts } from 'node:net';
import type { Clock } from '#beehive/clock.ts';
import { cloudTime } from '#edgecore/edgehub/ca-download.ts';
import { CredentialError } from '#edgecore/edgehub/errors.ts';
import { isPortFree } from '../ports.ts';
import type { PlannedCloud, PlannedPort } from './plan.ts';

export interface PortFacts extends PlannedPort {
  readonly free: boolean;
}

export interface CloudFacts extends PlannedCloud {
  /** Why its name means nothing here; undefined: it does, or it is an address. */
  readonly nameFailure: string | undefined;
  readonly unreachable: readonly { readonly port: number; readonly reason: string }[];
  /** Its clock; undefined when it was not told. */
  readonly nowMs: number | undefined;
}

const timeoutMs = 3_000;

export function readPorts(ports: readonly PlannedPort[]): Promise<PortFacts[]> {
  return Promise.all(ports.map(async (port) => ({ ...port, free: await isPortFree(port.port, port.host) })));
}

export async function readCloud(cloud: PlannedCloud, clock: Clock): Promise<CloudFacts> {
  const host = cloud.host.replace(/^\[(.*)\]$/, '$1');
  const nameFailure = isIP(host) === 0 ? await whyNoAddress(host, clock) : undefined;
  if (nameFailure !== undefined) return { ...cloud, nameFailure, unreachable: [], nowMs: undefined };
  const reasons = await Promise.all(cloud.ports.map((port) => whyNoConnection({ host, port }, clock)));
  const unreachable = cloud.ports.flatMap((port, at) => {
    const reason = reasons[at];
    return reason === undefined ? [] : [{ port, reason }];
  });
  const [, certificates] = cloud.ports;
  const answers = !unreachable.some(({ port }) => port === certificates);
  return {
    ...cloud,
    nameFailure,
    unreachable,
    nowMs: answers
      ? await readTime(new URL(`https://${cloud.host}:${certificates}/ca.crt`), clock)
      : undefined,
  };
}

/** The first of the sockets at which somebody listens. */
export async function firstAnswering(paths: readonly string[], clock: Clock): Promise<string | undefined> {
  for (const path of paths) if ((await whyNoConnection({ path }, clock)) === undefined) return path;
  return undefined;
}

/** Whether that is the cloud of the token is found out later; here only its clock is of interest. */
async function readTime(url: URL, clock: Clock): Promise<number | undefined> {
  try {
    return await cloudTime({ url, timeoutMs }, clock, new AbortController().signal);
  } catch (error) {
    if (error instanceof CredentialError) return undefined;
    throw error;
  }
}

function whyNoAddress(host: string, clock: Clock): Promise<string | undefined> {
  return inTime(
    lookup(host).then(
      () => undefined,
      (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
    ),
    clock,
  );
}

function whyNoConnection(where: NetConnectOpts, clock: Clock): Promise<string | undefined> {
  const socket = connect(where);
  const answered = new Promise<string | undefined>((resolve) => {
    socket.once('connect', () => resolve(undefined));
    socket.once('error', (error) => resolve('code' in error ? String(error.code) : error.message));
  });
  return inTime(answered, clock).finally(() => socket.destroy());
}

async function inTime(answer: Promise<string | undefined>, clock: Clock): Promise<string | undefined> {
  const done = new AbortController();
  const late = clock.sleep(timeoutMs, done.signal).then(
    () => `no answer within ${timeoutMs / 1000} s`,
    () => undefined,
  );
  try {
    return await Promise.race([answer, late]);
  } finally {
    done.abort();
  }
}
