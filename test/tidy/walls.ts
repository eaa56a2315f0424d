/** Who may import whom, and which folder owns which library. */

import { type Fault, importsOf, type Source, topFolderOf } from './sources.ts';

/** What each top folder may import besides itself. Folders that are not named may import nothing of ours. */
const below: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  beehive: ['protocol'],
  apiserver: ['beehive', 'protocol'],
  cloudcore: ['beehive', 'protocol'],
  edgecore: ['beehive', 'protocol'],
  mapper: ['beehive', 'protocol'],
  keadm: ['apiserver', 'cloudcore', 'edgecore', 'beehive', 'protocol'],
  test: ['protocol', 'beehive', 'apiserver', 'cloudcore', 'edgecore', 'keadm', 'mapper'],
};

/** Daemons whose folders are modules, and the folder that modules share. */
const sharedFolder: Readonly<Record<string, string>> = { cloudcore: 'kube', edgecore: 'store' };

const certificateOwners = ['cloudcore/cloudhub/', 'edgecore/edgehub/', 'apiserver/'];

/** Product code under these paths may import the library; tests may import any. */
const libraryOwners: Readonly<Record<string, readonly string[]>> = {
  // A container runtime's socket, and those between an edge and its mappers.
  '@grpc/grpc-js': ['edgecore/edged/runtime/cri/', 'protocol/dmi/'],
  '@grpc/proto-loader': ['edgecore/edged/runtime/cri/', 'protocol/dmi/'],
  '@kubernetes/client-node': ['cloudcore/kube/'],
  '@peculiar/x509': certificateOwners,
  aedes: ['edgecore/eventbus/'],
  'better-sqlite3': ['edgecore/store/', 'apiserver/store/'],
  commander: ['keadm/'],
  // Beside the build, what makes one file of the log writer for its tests.
  esbuild: ['build/', 'edgecore/edged/runtime/bundled-log-writer.ts'],
  jose: certificateOwners,
  mqtt: ['edgecore/eventbus/', 'mapper/'],
  pino: ['beehive/log.ts'],
  'prom-client': ['beehive/metrics.ts'],
  protobufjs: ['apiserver/protobuf/'],
  'reflect-metadata': certificateOwners,
  rxjs: ['beehive/'],
  vitest: ['vitest.config.ts'],
  // Beside the wire, the streams that a container runtime hands out.
  ws: ['protocol/transport/', 'edgecore/edged/runtime/cri/cri-streams.ts'],
  yaml: ['beehive/', 'apiserver/'],
  zod: ['protocol/', 'beehive/', 'apiserver/', 'cloudcore/', 'edgecore/', 'keadm/', 'mapper/'],
};

export function wallFaults(source: Source): Fault[] {
  return importsOf(source).flatMap(({ line, specifier, target }) => {
    const text =
      target === undefined ? libraryFault(source, specifier) : importFault(source, specifier, target);
    return text === undefined ? [] : [{ path: source.path, line, text }];
  });
}

function importFault(source: Source, specifier: string, target: string): string | undefined {
  const from = topFolderOf(source.path);
  const to = topFolderOf(target);
  if (!/\.(ts|mjs)$/.test(target))
    return `"${specifier}" has no file ending: name the file, there are no barrels`;
  if (from === to) {
    if (specifier.startsWith('#') && folderOf(source.path) === folderOf(target)) {
      return `"${specifier}" is in the same folder: write a relative path`;
    }
    return moduleFault(source, target);
  }
  if (from === 'build' || from === '') return undefined;
  if (!specifier.startsWith('#')) return `"${specifier}" leaves ${from}/: write #${target}`;
  if (to === 'test' && source.isTest) return undefined;
  if ((below[from] ?? []).includes(to)) return undefined;
  return `${from}/ may not import ${to}/: move what both need down to beehive/ or protocol/, or send a message`;
}

/** The module's folder, or the top folder for what stands beside the modules. */
function folderOf(path: string): string {
  return path.split('/').slice(0, -1).slice(0, 2).join('/');
}

function moduleFault(source: Source, target: string): string | undefined {
  const [daemon = '', from = '', ...rest] = source.path.split('/');
  const shared = sharedFolder[daemon];
  const to = target.split('/')[1] ?? '';
  // Files beside the module folders are the composition root, which imports all of them.
  if (shared === undefined || rest.length === 0 || from === to || to === shared) return undefined;
  return `module ${from} may not import ${to}: talk over the bus, or share through ${daemon}/${shared}/`;
}

function libraryFault(source: Source, specifier: string): string | undefined {
  if (specifier.startsWith('node:') || source.isTest) return undefined;
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  const owners = libraryOwners[name];
  if (owners === undefined)
    return `library ${name} has no owner: name its folder in test/tidy/walls.ts, or do without`;
  if (owners.some((owner) => source.path.startsWith(owner))) return undefined;
  return `library ${name} belongs to ${owners.join(', ')}: ask that folder for what you need of it`;
}
