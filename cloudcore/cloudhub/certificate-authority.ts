/**
 * The CA of the edges and the server certificate of this cloudcore, found or made at start.
 *
 * The CA is created or adopted, never overwritten: edges pin it, and a second CA would shut them out. Local
 * files win and must be the CA of the secret; without files the secret is adopted; without either one is made,
 * and the secret's creation decides which of several cloudcores made it. The server certificate is of that CA
 * and is made again when the names it is for have changed.
 */

import { createHash } from 'node:crypto';
import type { Clock } from '#beehive/clock.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import type { Log } from '#beehive/log.ts';
import type { TlsIdentity } from '#protocol/transport/transport.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import { type CredentialFiles, readCredentialFiles, writeCredentialFiles } from './credential-files.ts';
import {
  type Credential,
  certificatePem,
  createCa,
  issueNode,
  issueServer,
  type NodeSubject,
  readCredential,
  readRequest,
  sec1Der,
  sec1Pem,
  serves,
} from './pki.ts';
import { type SecretData, SystemSecrets } from './system-secrets.ts';

export interface AuthorityOptions {
  readonly caFiles: CredentialFiles;
  readonly serverFiles: CredentialFiles;
  /** Addresses and DNS names by which edges dial this cloudcore. */
  readonly serverNames: readonly string[];
  readonly nodeCertificateDays: number;
}

export interface AuthorityComponents {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly log: Log;
}

interface Store {
  readonly secret: string;
  readonly certKey: string;
  readonly keyKey: string;
}

/** Wire 2.1. */
const caStore: Store = { secret: 'casecret', certKey: 'cadata', keyKey: 'cakeydata' };
const serverStore: Store = {
  secret: 'cloudcoresecret',
  certKey: 'cloudcoredata',
  keyKey: 'cloudcorekeydata',
};

export class CertificateAuthority {
  readonly #ca: Credential;
  readonly #server: Credential;
  readonly #nodeCertificateDays: number;
  readonly #clock: Clock;

  constructor(ca: Credential, server: Credential, nodeCertificateDays: number, clock: Clock) {
    this.#ca = ca;
    this.#server = server;
    this.#nodeCertificateDays = nodeCertificateDays;
    this.#clock = clock;
  }

  /** DER */
  get certificate(): Uint8Array {
    return this.#ca.certificate;
  }

  /** What edges pin: the first part of the join token. */
  get certificateHash(): string {
    return createHash('sha256').update(this.#ca.certificate).digest('hex');
  }

  get tls(): TlsIdentity {
    return {
      ca: certificatePem(this.#ca.certificate),
      cert: certificatePem(this.#server.certificate),
      key: sec1Pem(this.#server.key),
    };
  }

  /** A node certificate (DER) for the key of a PKCS#10 request (DER). @throws CertificateRequestError */
  async sign(request: Uint8Array, subject: NodeSubject): Promise<Uint8Array> {
    const publicKey = await readRequest(request);
    return issueNode(this.#ca, { subject, publicKey, days: this.#nodeCertificateDays }, this.#clock.now());
  }
}

/** @throws UnrecoverableError when files and secrets contradict each other or are damaged; KubeError */
export async function openCertificateAuthority(
  options: AuthorityOptions,
  components: AuthorityComponents,
): Promise<CertificateAuthority> {
  const secrets = new SystemSecrets(components.api);
  const ca = await openCa(options, secrets, components);
  const server = await openServer(ca, options, secrets, components);
  return new CertificateAuthority(ca, server, options.nodeCertificateDays, components.clock);
}

async function openCa(
  { caFiles }: AuthorityOptions,
  secrets: SystemSecrets,
  { clock, log }: AuthorityComponents,
): Promise<Credential> {
  const local = await readCredentialFiles(caFiles);
  const stored = await secrets.read(caStore.secret);
  const offered = local ?? (stored === undefined ? await createCa(clock.now()) : undefined);
  const data = stored ?? (offered && (await secrets.createOrAdopt(caStore.secret, pack(offered, caStore))));
  if (data === undefined) throw new Error('unreachable: without a stored CA one was offered');
  const agreed = unpack(data, caStore);
  if (local === undefined) {
    await writeCredentialFiles(caFiles, agreed, { overwrite: false });
    const made = offered !== undefined && sameCertificate(offered, agreed);
    log.info({ file: caFiles.certFile }, made ? 'made a new CA' : 'adopted the CA of the cluster');
    return agreed;
  }
  if (!sameCertificate(local, agreed)) {
    throw new UnrecoverableError(
      `the CA in ${caFiles.certFile} is not the one in secret kubeedge/${caStore.secret}; edges trust only one of them. ` +
        `To use the cluster's, move ${caFiles.certFile} and ${caFiles.keyFile} away; to use the files', delete the secret`,
    );
  }
  return local;
}

async function openServer(
  ca: Credential,
  { serverFiles, serverNames }: AuthorityOptions,
  secrets: SystemSecrets,
  { clock, log }: AuthorityComponents,
): Promise<Credential> {
  if (serverNames.length === 0) {
    throw new UnrecoverableError(
      'modules.cloudHub.advertiseAddress and dnsNames are empty: edges could not verify this cloudcore; name an address they dial',
    );
  }
  const fits = (held: Credential) => serves(ca, held, serverNames, clock.now());
  const local = await readIfSound(serverFiles, log);
  const stored = await secrets.read(serverStore.secret);
  if (local !== undefined && fits(local)) {
    if (stored === undefined) await secrets.createOrAdopt(serverStore.secret, pack(local, serverStore));
    return local;
  }
  const adopted = stored === undefined ? undefined : unpackIfSound(stored, serverStore);
  const adopts = adopted !== undefined && fits(adopted);
  const server = adopts ? adopted : await issueServer(ca, serverNames, clock.now());
  if (!adopts) {
    await secrets.put(serverStore.secret, pack(server, serverStore));
    log.info({ names: serverNames }, 'made a server certificate');
  }
  await writeCredentialFiles(serverFiles, server, { overwrite: true });
  return server;
}

function pack(credential: Credential, store: Store): SecretData {
  return { [store.certKey]: credential.certificate, [store.keyKey]: sec1Der(credential.key) };
}

function unpack(data: SecretData, store: Store): Credential {
  try {
    return readCredential(data[store.certKey] ?? '', data[store.keyKey] ?? '');
  } catch (error) {
    throw new UnrecoverableError(
      `secret kubeedge/${store.secret} holds no certificate and key in ${store.certKey} and ${store.keyKey} (DER); ` +
        'restore it from a backup, or delete it to have it made again (for the CA, every edge must then join anew)',
      { cause: error },
    );
  }
}

/** Damaged server files cost nothing (unlike a CA's): they are made again. */
async function readIfSound(files: CredentialFiles, log: Log): Promise<Credential | undefined> {
  try {
    return await readCredentialFiles(files);
  } catch (error) {
    if (!(error instanceof UnrecoverableError)) throw error;
    log.warn({ err: error }, 'server certificate unusable, making it again');
    return undefined;
  }
}

/** As readIfSound. */
function unpackIfSound(data: SecretData, store: Store): Credential | undefined {
  try {
    return unpack(data, store);
  } catch (error) {
    if (error instanceof UnrecoverableError) return undefined;
    throw error;
  }
}

function sameCertificate(one: Credential, other: Credential): boolean {
  return Buffer.from(one.certificate).equals(other.certificate);
}
