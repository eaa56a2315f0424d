/** What commander hands over, checked: commander knows which flags there are, here is what their values are. */

import { z } from 'zod';
import { KeadmError } from './errors.ts';

const list = z.string().transform(splitList);
const names = z.string().transform((text) => splitList(text).map((name) => name.toLowerCase()));
const runtime = z.enum(['auto', 'process', 'cri']);

const placeFlags = z.object({ dataDir: z.string().optional(), kubeConfig: z.string().optional() });

const hookFlags = z.object({ preRun: z.string().optional(), postRun: z.string().optional() });

export const initFlags = placeFlags.extend({
  dryRun: z.boolean().optional(),
  advertiseAddress: list.optional(),
  apiPort: z.number(),
  set: z.array(z.string()),
  ignorePreflightErrors: names.optional(),
});

/** Of `gettoken` and `token`: where the cloud is, and the join command that may be printed. */
export const tokenFlags = placeFlags.extend({
  printJoinCommand: z.boolean().optional(),
  cloudcoreIpport: z.string().optional(),
  certport: z.number().optional(),
  node: z.string().optional(),
});
export type TokenFlags = z.infer<typeof tokenFlags>;

export const createTokenFlags = tokenFlags.extend({ ttl: z.string(), uses: z.string().optional() });

export const joinFlags = hookFlags.extend({
  dataDir: z.string().optional(),
  cloudcoreIpport: z.string(),
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  edgenodeName: z.string().optional(),
  certport: z.number(),
  labels: z.string().transform(splitLabels).optional(),
  remoteRuntimeEndpoint: z.string().optional(),
  cgroupdriver: z.enum(['systemd', 'cgroupfs']).optional(),
  runtime,
  hubProtocol: z.enum(['websocket', 'quic']),
  set: z.array(z.string()),
  ignorePreflightErrors: names.optional(),
});

export const resetFlags = hookFlags.extend({ dataDir: z.string().optional() });

export const checkFlags = z.object({
  dataDir: z.string().optional(),
  cloud: z.boolean().optional(),
  cloudcoreIpport: z.string().optional(),
  cloudHubServer: z.string().optional(),
  certport: z.number().optional(),
  config: z.string().optional(),
  edgenodeName: z.string().optional(),
  runtime: runtime.optional(),
});

export const versionFlags = z.object({ output: z.enum(['text', 'yaml', 'json', 'short']) });

export function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65536) return port;
  throw new KeadmError(`"${text}" is not a port`, { code: 'bad-flag', flag: 'port' });
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function splitLabels(text: string): Record<string, string> {
  const labels = splitList(text).map((item) => {
    const at = item.indexOf('=');
    if (at > 0) return [item.slice(0, at), item.slice(at + 1)] as const;
    throw new KeadmError(`--labels: "${item}" is not of the form key=value`, {
      code: 'bad-flag',
      flag: '--labels',
    });
  });
  return Object.fromEntries(labels);
}
