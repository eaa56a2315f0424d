/** Section `modules.metaManager` of edgecore.yaml. */

import { z } from 'zod';

export const metaManagerConfigSchema = z.strictObject({
  enable: z.literal(true, 'MetaManager cannot be switched off: the other modules live by it').default(true),
  /** Seconds to wait for the cloud's answer to a query. */
  remoteQueryTimeout: z.number().int().positive().default(60),
});

export type MetaManagerConfig = z.infer<typeof metaManagerConfigSchema>;

/** Which group and module the cloud is reached by is not a choice here; MetaServer is not part of this build. */
export const metaManagerUnused: readonly string[] = ['contextSendGroup', 'contextSendModule', 'metaServer'];
