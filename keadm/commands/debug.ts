/** `keadm debug check`: the checks that join (or init) makes, at any time, about the edge that is here or will be. */

import { existsSync } from 'node:fs';
import { loadConfig } from '#beehive/config-file.ts';
import { edgecoreFormat } from '#edgecore/config.ts';
import { KeadmError } from '../errors.ts';
import type { Host } from '../host.ts';
import { cloudLayout, edgeLayout } from '../layout.ts';
import { type Finding, type Subject, subjects } from '../preflight/finding.ts';
import { defaultRuntimeEndpoint, type Plan } from '../preflight/plan.ts';
import { findOut } from '../preflight/preflight.ts';
import { parseCloudAddress } from './join.ts';

export interface DebugCheckOptions {
  readonly dataDir?: string | undefined;
  /** edgecore.yaml; without it that of the edge in `dataDir`. */
  readonly configFile?: string | undefined;
  readonly cloud?: boolean | undefined;
  readonly cloudcoreIpPort?: string | undefined;
  readonly certPort?: number | undefined;
  readonly nodeName?: string | undefined;
  readonly runtime?: Plan['runtime'] | undefined;
}

/** @param words what to look at: subjects, or `all`. @throws KeadmError `bad-flag` */
export async function debugCheck(
  words: readonly string[],
  options: DebugCheckOptions,
  host: Pick<Host, 'clock'>,
  root?: string,
): Promise<Finding[]> {
  const wanted = readSubjects(words);
  const plan = options.cloud ? cloudPlan(options) : await edgePlan(options);
  return (await findOut(plan, host, root)).filter(({ subject }) => wanted.has(subject));
}

function readSubjects(words: readonly string[]): ReadonlySet<Subject> {
  const chosen = words.length === 0 ? ['all'] : words;
  const wanted = chosen.flatMap((word) => {
    if (word === 'all') return subjects;
    const subject = subjects.find((each) => each === word);
    if (subject !== undefined) return [subject];
    throw new KeadmError(`"${word}" is nothing to check; there are all, ${subjects.join(', ')}`, {
      code: 'bad-flag',
      flag: 'check',
    });
  });
  return new Set(wanted);
}

/** Ports are left out: the cloud that may run here has them. */
function cloudPlan({ dataDir }: DebugCheckOptions): Plan {
  return {
    role: 'cloud',
    dataDir: cloudLayout(dataDir).libDir,
    runtime: 'process',
    runtimeEndpoint: defaultRuntimeEndpoint,
    cgroupDriver: undefined,
    nodeName: undefined,
    ports: [],
    cloud: undefined,
  };
}

/** What the flags leave open is as the edge here was joined, if it was. */
async function edgePlan(options: DebugCheckOptions): Promise<Plan> {
  const { configFile: ownConfig, libDir } = edgeLayout(options.dataDir);
  const configFile = options.configFile ?? ownConfig;
  const isToBeRead = options.configFile !== undefined || existsSync(configFile);
  const joined = isToBeRead ? (await loadConfig(configFile, edgecoreFormat)).config : undefined;
  const edged = joined?.modules.edged;
  const edgeHub = joined?.modules.edgeHub;
  const address = options.cloudcoreIpPort ?? edgeHub?.websocket.server;
  const certPort =
    options.certPort ?? Number(edgeHub === undefined ? 10002 : new URL(edgeHub.httpServer).port);
  const hub = address === undefined ? undefined : parseCloudAddress(address);
  return {
    role: 'edge',
    dataDir: libDir,
    runtime: options.runtime ?? edged?.runtime ?? 'auto',
    runtimeEndpoint: edged?.tailoredKubeletConfig.containerRuntimeEndpoint ?? defaultRuntimeEndpoint,
    cgroupDriver: edged?.tailoredKubeletConfig.cgroupDriver,
    nodeName: options.nodeName ?? edged?.hostnameOverride,
    ports: [],
    cloud: hub === undefined ? undefined : { host: hub.host, ports: [hub.port, certPort] },
  };
}
