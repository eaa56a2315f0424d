/** A volume of a Pod: the sources that the edge can make itself are read, the others are kept and named. */

import { z } from 'zod';
import { resourceFieldRefSchema } from './container.ts';

export const keyToPathSchema = z.looseObject({
  key: z.string(),
  path: z.string(),
  mode: z.number().nullish(),
});

const downwardItemSchema = z.looseObject({
  path: z.string(),
  fieldRef: z.looseObject({ fieldPath: z.string() }).nullish(),
  resourceFieldRef: resourceFieldRefSchema.nullish(),
  mode: z.number().nullish(),
});

/** One source of a projected volume. */
export const projectionSchema = z.looseObject({
  configMap: z
    .looseObject({
      name: z.string().optional(),
      items: z.array(keyToPathSchema).nullish(),
      optional: z.boolean().nullish(),
    })
    .nullish(),
  secret: z
    .looseObject({
      name: z.string().optional(),
      items: z.array(keyToPathSchema).nullish(),
      optional: z.boolean().nullish(),
    })
    .nullish(),
  downwardAPI: z.looseObject({ items: z.array(downwardItemSchema).nullish() }).nullish(),
  serviceAccountToken: z
    .looseObject({
      audience: z.string().optional(),
      expirationSeconds: z.number().nullish(),
      path: z.string(),
    })
    .nullish(),
});

export const volumeSchema = z.looseObject({
  name: z.string(),
  configMap: z
    .looseObject({
      name: z.string().optional(),
      items: z.array(keyToPathSchema).nullish(),
      defaultMode: z.number().nullish(),
      optional: z.boolean().nullish(),
    })
    .nullish(),
  secret: z
    .looseObject({
      secretName: z.string().optional(),
      items: z.array(keyToPathSchema).nullish(),
      defaultMode: z.number().nullish(),
      optional: z.boolean().nullish(),
    })
    .nullish(),
  emptyDir: z
    .looseObject({ medium: z.string().optional(), sizeLimit: z.union([z.string(), z.number()]).nullish() })
    .nullish(),
  hostPath: z.looseObject({ path: z.string(), type: z.string().nullish() }).nullish(),
  downwardAPI: z
    .looseObject({ items: z.array(downwardItemSchema).nullish(), defaultMode: z.number().nullish() })
    .nullish(),
  projected: z
    .looseObject({ sources: z.array(projectionSchema).nullish(), defaultMode: z.number().nullish() })
    .nullish(),
  persistentVolumeClaim: z.looseObject({ claimName: z.string(), readOnly: z.boolean().optional() }).nullish(),
});

export type Volume = z.infer<typeof volumeSchema>;
export type KeyToPath = z.infer<typeof keyToPathSchema>;
