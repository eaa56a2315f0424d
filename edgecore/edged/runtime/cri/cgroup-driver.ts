/** Which cgroup driver a container runtime uses: the names of cgroups that it takes follow from it. */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { RuntimeError } from '../runtime-service.ts';
import { type CgroupDriver, driverFromInfo } from './cgroups.ts';
import { CriCalls } from './cri-calls.ts';
import { createCriClient } from './cri-client.ts';
import * as messages from './cri-messages.ts';

/** RuntimeConfig is younger than the rest of the interface; the verbose status of older containerds tells as well. */
export async function readCgroupDriver(calls: CriCalls): Promise<CgroupDriver | undefined> {
  try {
    const method = 'RuntimeService/RuntimeConfig';
    const { linux } = await calls.read(method, {}, messages.runtimeConfigAnswer);
    if (linux) return linux.cgroup_driver === 'SYSTEMD' ? 'systemd' : 'cgroupfs';
  } catch (error) {
    if (!(error instanceof RuntimeError && error.code === 'unsupported')) throw error;
  }
  const { info } = await calls.read('RuntimeService/Status', { verbose: true }, messages.statusAnswer);
  return driverFromInfo(info);
}

/** Of the runtime at that socket; undefined when it does not tell. */
export async function cgroupDriverAt(
  where: { readonly socket: string; readonly protoFile: string },
  components: { clock: Clock; log: Log },
): Promise<CgroupDriver | undefined> {
  const client = createCriClient(where, components);
  try {
    return await readCgroupDriver(new CriCalls(client));
  } catch (error) {
    if (error instanceof RuntimeError) return undefined;
    throw error;
  } finally {
    client.close();
  }
}
