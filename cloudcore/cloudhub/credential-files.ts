/** A certificate and its key as two PEM files: written whole or not at all, the key readable by its owner only. */

import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UnrecoverableError } from '#beehive/errors.ts';
import { describeError } from '#protocol/errors.ts';
import { type Credential, certificatePem, readCredential, sec1Pem } from './pki.ts';

export interface CredentialFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Undefined when neither file exists. @throws UnrecoverableError when only one does, or they do not fit. */
export async function readCredentialFiles(files: CredentialFiles): Promise<Credential | undefined> {
  const [certificate, key] = await Promise.all([read(files.certFile), read(files.keyFile)]);
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    const [there, missing] =
      key === undefined ? [files.certFile, files.keyFile] : [files.keyFile, files.certFile];
    throw new UnrecoverableError(
      `${there} exists but ${missing} does not; restore it, or move both away to have them made again`,
    );
  }
  try {
    return readCredential(certificate, key);
  } catch (error) {
    throw new UnrecoverableError(
      `${files.certFile} and ${files.keyFile} are not a certificate and its key in PEM; restore them, or move both away`,
      { cause: error },
    );
  }
}

/**
 * With `overwrite: false` an existing file stays, and that is an error.
 * @throws UnrecoverableError when they cannot be written
 */
export async function writeCredentialFiles(
  files: CredentialFiles,
  credential: Credential,
  options: { readonly overwrite: boolean },
): Promise<void> {
  try {
    await write(files.keyFile, sec1Pem(credential.key), 0o600, options);
    await write(files.certFile, certificatePem(credential.certificate), 0o644, options);
  } catch (error) {
    throw new UnrecoverableError(
      `cannot write ${files.certFile} and ${files.keyFile}: ${describeError(error)}; check the folder's owner and mode`,
      { cause: error },
    );
  }
}

async function read(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new UnrecoverableError(`cannot read ${file}`, { cause: error });
  }
}

async function write(
  file: string,
  text: string,
  mode: number,
  { overwrite }: { readonly overwrite: boolean },
): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o755 });
  const draft = `${file}.${randomUUID()}`;
  const handle = await open(draft, 'wx', mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (overwrite) return rename(draft, file);
  try {
    await link(draft, file);
  } finally {
    await unlink(draft);
  }
}
