/** `keadm reset cloud|edge`: stops the daemons and removes what init or join recorded, and nothing else. */

import { rm, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createKubeApi } from '#cloudcore/kube/client.ts';
import { isNotFound } from '#cloudcore/kube/kube-api.ts';
import { cloudcoreRbac } from '#cloudcore/kube/rbac.ts';
import { systemNamespace } from '#protocol/names.ts';
import { clearVolumes, stopEdgeContainers } from '../edge-containers.ts';
import { KeadmError } from '../errors.ts';
import type { Host } from '../host.ts';
import { Journal, type JournalData, removeJournal } from '../journal.ts';
import { cloudLayout, edgeLayout } from '../layout.ts';
import { deleteManifest, toManifest } from '../manifests.ts';

export interface ResetOptions {
  readonly dataDir?: string | undefined;
}

export async function resetCloud(options: ResetOptions, host: Host): Promise<void> {
  const layout = cloudLayout(options.dataDir);
  const journal = await readJournal(layout.journalFile, 'cloud', options);
  const { kubeConfig, api } = journal.facts;
  await removeServices(journal, layout.libDir, host);
  if (api === 'cluster' && kubeConfig !== undefined) {
    await host.steps.step(`namespace ${systemNamespace} and roles`, () => cleanCluster(kubeConfig));
    host.steps.note('  The custom resources stay, with their objects: `kubectl delete crd` removes them.');
  }
  await removePaths(journal, layout.journalFile, host);
}

export async function resetEdge(options: ResetOptions, host: Host): Promise<void> {
  const layout = edgeLayout(options.dataDir);
  const journal = await readJournal(layout.journalFile, 'edge', options);
  await removeServices(journal, layout.libDir, host);
  await host.steps.step('pods of this edge', async () => {
    const were = await stopEdgeContainers(layout);
    await clearVolumes(layout);
    return were ? 'ended' : 'there were none';
  });
  await removePaths(journal, layout.journalFile, host);
  host.steps.note(
    `  On the cloud, \`kubectl delete node ${journal.facts.nodeName ?? 'NAME'}\` takes the node away.`,
  );
}

async function readJournal(
  file: string,
  role: JournalData['role'],
  { dataDir }: ResetOptions,
): Promise<JournalData> {
  const journal = await Journal.read(file);
  if (journal !== undefined) return journal;
  const place =
    dataDir === undefined
      ? 'in the default places; if it was set up with --data-dir, name it'
      : `in ${dataDir}`;
  throw new KeadmError(`nothing to reset: keadm has set up no ${role} ${place}`, {
    code: 'not-found',
    what: file,
  });
}

async function removeServices(journal: JournalData, stateDir: string, host: Host): Promise<void> {
  for (const name of [...journal.services].reverse()) {
    await host.steps.step(name, async () => {
      await host.services.remove(name, stateDir);
      return 'stopped';
    });
  }
}

/** What the journal names goes, and then each directory above it that is left empty. */
async function removePaths(journal: JournalData, journalFile: string, host: Host): Promise<void> {
  await host.steps.step('files', async () => {
    for (const path of [...journal.paths].reverse()) await rm(path, { recursive: true, force: true });
    await removeJournal(journalFile);
    for (const path of [...journal.paths, journalFile]) await removeEmptyDirectories(dirname(path));
    return `${journal.paths.length} removed`;
  });
}

const rootsKept = new Set(['/', '/etc', '/var', '/var/lib', '/var/log']);

async function removeEmptyDirectories(path: string): Promise<void> {
  for (let at = path; !rootsKept.has(at); at = dirname(at)) {
    try {
      await rmdir(at);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'ENOENT') continue;
      if (code === 'ENOTEMPTY' || code === 'EBUSY') return;
      throw error;
    }
  }
}

async function cleanCluster(kubeConfig: string): Promise<undefined> {
  const api = await createKubeApi(kubeConfig);
  for (const manifest of cloudcoreRbac().map(toManifest)) await deleteManifest(api, manifest);
  try {
    await api.delete({ apiVersion: 'v1', plural: 'namespaces', name: systemNamespace });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
