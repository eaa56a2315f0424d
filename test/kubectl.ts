/** The kubectl of this machine, for tests. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface KubectlOutcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const named = process.env.HAWSER_TEST_KUBECTL ?? '';

/** Undefined where there is none. */
export const kubectlFile =
  named === ''
    ? (process.env.PATH ?? '')
        .split(delimiter)
        .map((directory) => join(directory, 'kubectl'))
        .find((file) => existsSync(file))
    : named;

export const needsKubectl =
  kubectlFile === undefined ? 'no kubectl: neither on PATH nor named by HAWSER_TEST_KUBECTL' : undefined;

/** Files of its own: `cacheDir` keeps what it learns of an API. */
export function runKubectl(
  { kubeconfig, cacheDir }: { readonly kubeconfig: string; readonly cacheDir: string },
  args: readonly string[],
  input = '',
): Promise<KubectlOutcome> {
  const own = ['--cache-dir', cacheDir, '--kubeconfig', kubeconfig];
  return new Promise((resolve) => {
    const child = execFile(kubectlFile ?? '', [...own, ...args], { timeout: 60_000 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err }),
    );
    // kubectl may end without having read its input.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}
