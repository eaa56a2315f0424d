/** Section `modules.cloudHub` of cloudcore.yaml: KubeEdge's fields and defaults, and their way into our options. */

import { networkInterfaces } from 'node:os';
import { z } from 'zod';
import type { CloudHubOptions } from './cloudhub.ts';

const port = z.int().min(1).max(65_535);
const caFolder = '/etc/kubeedge/ca';
const certFolder = '/etc/kubeedge/certs';

export const cloudHubConfigSchema = z.strictObject({
  enable: z.boolean().default(true),
  /** Seconds of silence after which a session ends. */
  keepaliveInterval: z.int().min(1).max(3_600).default(30),
  nodeLimit: z.int().min(1).max(100_000).default(500),
  /** Seconds. */
  writeTimeout: z.int().min(1).max(3_600).default(30),
  tlsCAFile: z.string().min(1).default(`${caFolder}/rootCA.crt`),
  tlsCAKeyFile: z.string().min(1).default(`${caFolder}/rootCA.key`),
  tlsCertFile: z.string().min(1).default(`${certFolder}/server.crt`),
  tlsPrivateKeyFile: z.string().min(1).default(`${certFolder}/server.key`),
  /** Empty: this host's first address. */
  advertiseAddress: z.array(z.string()).default([]),
  dnsNames: z.array(z.string()).default([]),
  /** Days. */
  edgeCertSigningDuration: z.int().min(1).max(36_500).default(365),
  /** Hours; a timer cannot wait longer than some 24 days. */
  tokenRefreshDuration: z.int().min(1).max(500).default(12),
  websocket: z
    .strictObject({
      enable: z.literal(true, 'edges have no other way to connect than WebSocket').default(true),
      /** Also that of the HTTPS port. */
      address: z.string().min(1).default('0.0.0.0'),
      port: port.default(10_000),
    })
    .prefault({}),
  https: z.strictObject({ enable: z.boolean().default(true), port: port.default(10_002) }).prefault({}),
  quic: z
    .strictObject({
      enable: z
        .literal(
          false,
          'KubeEdge’s QUIC (Google QUIC, no client certificates) is not served; edges use websocket',
        )
        .default(false),
    })
    .prefault({}),
  /** Whether a node is held to its own objects. KubeEdge has this off; here an operator must turn it off. */
  authorization: z
    .strictObject({
      enable: z.boolean().default(true),
      /** Enabled with `debug` only logs at KubeEdge: nobody is refused. */
      debug: z.boolean().default(false),
    })
    .prefault({}),
});

export type CloudHubConfig = z.infer<typeof cloudHubConfigSchema>;

export const cloudHubUnused: readonly string[] = [
  'unixsocket',
  'quic.address',
  'quic.port',
  'quic.maxIncomingStreams',
  'authorization.modes',
];

export function cloudHubOptions(config: CloudHubConfig): CloudHubOptions {
  const configured = config.advertiseAddress.filter((address) => address !== '');
  const addresses = configured.length > 0 ? configured : [hostAddress()];
  const dnsNames = config.dnsNames.filter((dnsName) => dnsName !== '');
  return {
    host: config.websocket.address,
    port: config.websocket.port,
    bootstrapPort: config.https.enable ? config.https.port : undefined,
    nodesMax: config.nodeLimit,
    silenceMaxMs: config.keepaliveInterval * 1_000,
    writeTimeoutMs: config.writeTimeout * 1_000,
    tokenRefreshIntervalMs: config.tokenRefreshDuration * 3_600_000,
    authority: {
      caFiles: { certFile: config.tlsCAFile, keyFile: config.tlsCAKeyFile },
      serverFiles: { certFile: config.tlsCertFile, keyFile: config.tlsPrivateKeyFile },
      serverNames: [...new Set([...addresses, ...dnsNames])],
      nodeCertificateDays: config.edgeCertSigningDuration,
    },
    advertisedAddress: addresses[0] ?? '',
  };
}

/** Whether a node is held to its own objects. */
export function authorizes({ authorization }: CloudHubConfig): boolean {
  return authorization.enable && !authorization.debug;
}

function hostAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}
