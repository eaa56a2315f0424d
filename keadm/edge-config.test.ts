import { createServer, type Server } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { brokerUrl } from './edge-config.ts';

let server: Server | undefined;
afterEach(() => server?.close());

it('clients are told the broker that the config names, or the external one when something listens there', async () => {
  server = createServer();
  const port = await new Promise<number>((resolve) =>
    server?.listen(0, '127.0.0.1', () => {
      const address = server?.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    }),
  );
  const [mqttServerExternal, mqttServerInternal] = [`tcp://127.0.0.1:${port}`, 'tcp://127.0.0.1:4321'];
  const url = (mqttMode?: 0 | 1 | 2) => brokerUrl({ mqttMode, mqttServerExternal, mqttServerInternal });
  expect([await url(0), await url(1), await url(2)]).toEqual([
    mqttServerInternal,
    mqttServerInternal,
    mqttServerExternal,
  ]);
  expect(await url()).toBe(mqttServerExternal);
  await new Promise((resolve) => server?.close(resolve));
  expect(await url()).toBe(mqttServerInternal);
});
