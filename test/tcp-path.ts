/** A TCP path that a test can spoil: bytes pass until it is cut (both ends are told) or silenced (nobody is). */

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class TcpPath {
  readonly #sockets = new Set<Socket>();
  readonly #servers: Server[] = [];
  #isSilent = false;

  /** A port on 127.0.0.1 that leads to this one. */
  async to(port: number): Promise<number> {
    const server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      this.#carry(near, far);
      this.#carry(far, near);
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    // A TCP server's address is never a pipe's.
    return (server.address() as AddressInfo).port;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  silence(): void {
    this.#isSilent = true;
  }

  /** Bytes of new connections pass again; those that were swallowed are gone. */
  heal(): void {
    this.cut();
    this.#isSilent = false;
  }

  async close(): Promise<void> {
    this.cut();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  #carry(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('error', () => {});
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    from.on('end', () => to.end());
    from.on('data', (bytes) => {
      if (this.#isSilent) return;
      if (!to.write(bytes)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    });
  }
}
