/**
 * A TCP path on which the content of TLS is counted without being read: each record says how long it is, and of
 * TLS 1.3 it is known what a record adds.
 */

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

const recordHeaderBytes = 5;
const applicationData = 23;
/** The tag of AES-GCM and the byte of the inner type. */
const recordOverheadBytes = 17;

export class TlsMeter {
  #contentBytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(port: number) {
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      this.#carry(near, far);
      this.#carry(far, near);
    });
  }

  /** A way to this port of 127.0.0.1. */
  static async to(port: number): Promise<TlsMeter> {
    const meter = new TlsMeter(port);
    await new Promise<void>((resolve) => meter.#server.listen(0, '127.0.0.1', resolve));
    return meter;
  }

  get port(): number {
    // A TCP server's address is never a pipe's.
    return (this.#server.address() as AddressInfo).port;
  }

  /** Both ways together. */
  get contentBytes(): number {
    return this.#contentBytes;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #carry(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    let unread = Buffer.alloc(0);
    from.on('error', () => {});
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    from.on('data', (bytes) => {
      to.write(bytes);
      unread = Buffer.concat([unread, bytes]);
      while (unread.length >= recordHeaderBytes) {
        const length = unread.readUInt16BE(3);
        if (unread.length < recordHeaderBytes + length) break;
        if (unread[0] === applicationData) this.#contentBytes += length - recordOverheadBytes;
        unread = unread.subarray(recordHeaderBytes + length);
      }
    });
  }
}
