/** The line that somebody pastes on the edge machine: where the cloud is, as its own configuration says. */

import { existsSync } from 'node:fs';
import { loadConfig } from '#beehive/config-file.ts';
import { cloudcoreConfigFormat } from '#cloudcore/config.ts';
import { KeadmError } from './errors.ts';
import { cloudLayout } from './layout.ts';

export interface CloudAddress {
  /** `host:port` of CloudHub. */
  readonly cloudcoreIpPort: string;
  readonly certPort: number;
}

const defaultCertPort = 10002;

/** What the flags say, else what `keadm init` on this machine has written. @throws KeadmError */
export async function findCloudAddress(options: {
  readonly cloudcoreIpPort?: string | undefined;
  readonly certPort?: number | undefined;
  readonly dataDir?: string | undefined;
}): Promise<CloudAddress> {
  const { configFile } = cloudLayout(options.dataDir);
  if (options.cloudcoreIpPort !== undefined) {
    return { cloudcoreIpPort: options.cloudcoreIpPort, certPort: options.certPort ?? defaultCertPort };
  }
  if (!existsSync(configFile)) {
    throw new KeadmError(
      `${configFile} is not there, so where edges find cloudcore is not known here; run this on the cloud machine, or say it with --cloudcore-ipport HOST:PORT`,
      { code: 'not-found', what: configFile },
    );
  }
  const { config } = await loadConfig(configFile, cloudcoreConfigFormat);
  const { advertiseAddress, websocket, https } = config.modules.cloudHub;
  const [host] = advertiseAddress;
  if (host === undefined) {
    throw new KeadmError(
      `modules.cloudHub.advertiseAddress in ${configFile} is empty; set it, or say where edges find cloudcore with --cloudcore-ipport HOST:PORT`,
      { code: 'not-found', what: 'modules.cloudHub.advertiseAddress' },
    );
  }
  return { cloudcoreIpPort: `${host}:${websocket.port}`, certPort: options.certPort ?? https.port };
}

export function joinCommand(
  { cloudcoreIpPort, certPort }: CloudAddress,
  token: string,
  node?: string,
): string {
  return [
    'keadm join',
    `--cloudcore-ipport=${cloudcoreIpPort}`,
    ...(certPort === defaultCertPort ? [] : [`--certport=${certPort}`]),
    ...(node === undefined ? [] : [`--edgenode-name=${node}`]),
    `--token=${token}`,
  ].join(' ');
}
