/** Section `modules.edgeHub` of edgecore.yaml. Periods are in seconds, as KubeEdge writes them. */

import { z } from 'zod';
import { deliveryLimits, keepaliveLimits } from '#protocol/limits.ts';
import { defaultProjectId } from '#protocol/names.ts';
import type { CertificatesOptions } from './certificates.ts';
import type { EdgeHubOptions } from './edgehub.ts';

const seconds = z.number().int().positive();
const hostPort = /^(\[[0-9a-fA-F:.]+\]|[^:/\s]+):\d{1,5}$/;

const webSocketSchema = z.strictObject({
  enable: z.boolean().default(true),
  handshakeTimeout: seconds.default(30),
  /** How long the cloud may take to answer a ping. */
  readDeadline: seconds.default(15),
  server: z.string().regex(hostPort, 'must be host:port').default('127.0.0.1:10000'),
  writeDeadline: seconds.default(15),
});

/** Only so that a KubeEdge file passes: enabling it is refused. */
const quicSchema = z.strictObject({
  enable: z
    .literal(false, 'QUIC is not in this build; set quic.enable to false and websocket.enable to true')
    .default(false),
  handshakeTimeout: seconds.optional(),
  readDeadline: seconds.optional(),
  writeDeadline: seconds.optional(),
  server: z.string().optional(),
});

export const edgeHubConfigSchema = z
  .strictObject({
    enable: z
      .literal(true, 'EdgeHub cannot be switched off; an edge without a cloud goes on without it')
      .default(true),
    heartbeat: seconds.default(15),
    messageQPS: z.number().int().positive().default(deliveryLimits.kubeedgeUpstreamPerSecond),
    messageBurst: z.number().int().positive().default(deliveryLimits.kubeedgeUpstreamBurst),
    projectID: z.string().min(1).default(defaultProjectId),
    tlsCaFile: z.string().default('/etc/kubeedge/ca/rootCA.crt'),
    tlsCertFile: z.string().default('/etc/kubeedge/certs/server.crt'),
    tlsPrivateKeyFile: z.string().default('/etc/kubeedge/certs/server.key'),
    httpServer: z
      .url({ protocol: /^https$/, error: 'must be https://host:port' })
      .default('https://127.0.0.1:10002'),
    token: z.string().default(''),
    /** Ask for a new certificate at 70 to 90 % of the present one's life. */
    rotateCertificates: z.boolean().default(true),
    websocket: webSocketSchema.prefault({}),
    quic: quicSchema.prefault({}),
    /** Where keadm leaves the token; read before `token`, and removed once there is a certificate. */
    bootstrapFile: z.string().default('/etc/kubeedge/bootstrap-edgecore.conf'),
  })
  .refine((hub) => hub.websocket.enable, {
    path: ['websocket', 'enable'],
    message: 'exactly one transport must be on, and WebSocket is the one there is: set it to true',
  });

export type EdgeHubConfig = z.infer<typeof edgeHubConfigSchema>;

interface Who {
  readonly nodeName: string;
  readonly machine: string;
}

export function certificatesOptions(config: EdgeHubConfig, who: Who): CertificatesOptions {
  return {
    ...who,
    httpServer: config.httpServer,
    files: {
      caFile: config.tlsCaFile,
      certFile: config.tlsCertFile,
      keyFile: config.tlsPrivateKeyFile,
    },
    token: config.token,
    bootstrapFile: config.bootstrapFile,
    requestTimeoutMs: config.websocket.handshakeTimeout * 1000,
    rotate: config.rotateCertificates,
  };
}

/** @param modules who may be written to on this edge's bus. */
export function edgeHubOptions(config: EdgeHubConfig, who: Who, modules: readonly string[]): EdgeHubOptions {
  const { server, handshakeTimeout, readDeadline, writeDeadline } = config.websocket;
  return {
    ...who,
    projectId: config.projectID,
    server,
    heartbeatMs: config.heartbeat * 1000,
    sessionBeatMs: keepaliveLimits.sessionPeriodMs,
    handshakeTimeoutMs: handshakeTimeout * 1000,
    pongTimeoutMs: readDeadline * 1000,
    writeTimeoutMs: writeDeadline * 1000,
    upstream: { perSecond: config.messageQPS, burst: config.messageBurst },
    modules,
  };
}
