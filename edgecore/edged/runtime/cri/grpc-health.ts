/** The standard health question of gRPC services (grpc.health.v1), of which one field each way is all there is. */

import { Client, credentials } from '@grpc/grpc-js';

const method = '/grpc.health.v1.Health/Check';
const serving = 1;
const serviceBytesMax = 127;

export async function grpcHealth(
  host: string,
  port: number,
  service: string,
  signal: AbortSignal,
): Promise<{ readonly ok: boolean; readonly message: string }> {
  const address = host.includes(':') ? `[${host}]` : host;
  const client = new Client(`${address}:${port}`, credentials.createInsecure(), {
    'grpc.enable_http_proxy': 0,
    'grpc.use_local_subchannel_pool': 1,
  });
  try {
    return await new Promise((resolve) => {
      const call = client.makeUnaryRequest(method, encodeService, decodeStatus, service, (error, status) => {
        if (error !== null) resolve({ ok: false, message: error.details || error.message });
        else if (status === serving) resolve({ ok: true, message: '' });
        else resolve({ ok: false, message: `service unhealthy (responded with ${status ?? 0})` });
      });
      signal.addEventListener('abort', () => call.cancel(), { once: true });
    });
  } finally {
    client.close();
  }
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
