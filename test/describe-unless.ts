/** Tests that need what a machine may lack: they are shown as skipped, with what is missing. */

import { describe, it } from 'vitest';

/** `missing`: what the machine lacks and how to get it; undefined when it has all. */
export function describeUnless(missing: string | undefined, title: string, tests: () => void): void {
  if (missing === undefined) describe(title, tests);
  else it(title, ({ skip }) => skip(missing));
}

export function itUnless(missing: string | undefined, title: string, test: () => Promise<void> | void): void {
  it(title, ({ skip }) => (missing === undefined ? test() : skip(missing)));
}

export const needsCluster =
  process.env.HAWSER_TEST_KUBECONFIG === undefined
    ? 'HAWSER_TEST_KUBECONFIG names no cluster; `test/kubernetes/up DIR` starts one (Debian, root)'
    : undefined;
