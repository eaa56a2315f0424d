/** The floor under the embedded broker: aedes with nothing around it, which answers each twin update unread. */

import { type AddressInfo, createServer } from 'node:net';
import { Aedes } from 'aedes';

const broker = await Aedes.createBroker();
broker.on('publish', ({ topic, payload }, client) => {
  if (client === null || !topic.endsWith('/twin/update')) return;
  const message = {
    cmd: 'publish',
    topic: `${topic}/result`,
    payload,
    qos: 0,
    retain: false,
    dup: false,
  } as const;
  broker.publish(message, () => {});
});
// As the embedded one has it: else an answer waits for the acknowledgement of what went before it.
const server = createServer({ noDelay: true }, broker.handle);
server.listen(0, '127.0.0.1', () => {
  // A TCP server's address is never a pipe's.
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
process.once('SIGTERM', () => process.exit(0));
