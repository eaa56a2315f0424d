/** What we read of a runtime's answers, as proto-loader hands them over: enums by name, 64-bit numbers as text. */

import { z } from 'zod';

const integer = z.union([z.string(), z.number()]).transform(Number);
/** Nanoseconds since the epoch to milliseconds; zero is never. */
const timeMs = integer.transform((nanoseconds) =>
  nanoseconds > 0 ? Math.floor(nanoseconds / 1e6) : undefined,
);
const labels = z.record(z.string(), z.string()).default({});
const wrapped = z.object({ value: integer }).nullish();
const metadata = z.object({ name: z.string(), attempt: z.number().default(0) });

export const emptyAnswer = z.object({});

export const deletedTaskAnswer = z.object({ exit_status: z.number() });

export const versionAnswer = z.object({ runtime_name: z.string(), runtime_version: z.string() });

export const statusAnswer = z.object({
  status: z
    .object({
      conditions: z.array(
        z.object({ type: z.string(), status: z.boolean(), reason: z.string(), message: z.string() }),
      ),
    })
    .nullish(),
  info: labels,
});

export const runtimeConfigAnswer = z.object({
  linux: z.object({ cgroup_driver: z.enum(['SYSTEMD', 'CGROUPFS']) }).nullish(),
});

const sandbox = z.object({
  id: z.string(),
  metadata: z.object({
    name: z.string(),
    uid: z.string(),
    namespace: z.string(),
    attempt: z.number().default(0),
  }),
  state: z.enum(['SANDBOX_READY', 'SANDBOX_NOTREADY']),
  created_at: timeMs,
  labels,
});
export type CriSandbox = z.infer<typeof sandbox>;

export const sandboxesAnswer = z.object({ items: z.array(sandbox).default([]) });
export const sandboxIdAnswer = z.object({ pod_sandbox_id: z.string().min(1) });
export const sandboxStatusAnswer = z.object({
  status: sandbox.extend({
    network: z.object({ ip: z.string() }).nullish(),
    annotations: labels,
  }),
});

const container = z.object({
  id: z.string(),
  metadata,
  image: z.object({ image: z.string() }).nullish(),
  image_ref: z.string().default(''),
  image_id: z.string().default(''),
  state: z.enum(['CONTAINER_CREATED', 'CONTAINER_RUNNING', 'CONTAINER_EXITED', 'CONTAINER_UNKNOWN']),
  created_at: timeMs,
  labels,
  annotations: labels,
});
const listedContainer = container.extend({ pod_sandbox_id: z.string() });
const containerWithStatus = container.extend({
  started_at: timeMs,
  finished_at: timeMs,
  exit_code: z.number(),
  reason: z.string(),
  message: z.string(),
  log_path: z.string(),
});
export type CriContainer = z.infer<typeof listedContainer>;
export type CriContainerStatus = z.infer<typeof containerWithStatus>;

export const containersAnswer = z.object({ containers: z.array(listedContainer).default([]) });
export const containerIdAnswer = z.object({ container_id: z.string().min(1) });
export const containerStatusAnswer = z.object({ status: containerWithStatus });

export const execSyncAnswer = z.object({
  stdout: z.instanceof(Uint8Array),
  stderr: z.instanceof(Uint8Array),
  exit_code: z.number(),
});
export const urlAnswer = z.object({ url: z.string().min(1) });

const image = z.object({
  id: z.string(),
  repo_tags: z.array(z.string()).default([]),
  repo_digests: z.array(z.string()).default([]),
  size: integer,
  pinned: z.boolean().default(false),
  uid: wrapped,
  username: z.string().default(''),
});
export type CriImage = z.infer<typeof image>;
export const imagesAnswer = z.object({ images: z.array(image).default([]) });
export const imageStatusAnswer = z.object({ image: image.nullish() });
export const pullAnswer = z.object({ image_ref: z.string() });

const cpuUsage = z.object({ timestamp: timeMs, usage_core_nano_seconds: wrapped }).nullish();
export const memoryUsage = z
  .object({ working_set_bytes: wrapped, usage_bytes: wrapped, rss_bytes: wrapped })
  .nullish();

export const statsAnswer = z.object({
  stats: z
    .array(
      z.object({
        attributes: z.object({ id: z.string(), metadata, labels }),
        cpu: cpuUsage,
        memory: memoryUsage,
        writable_layer: z.object({ used_bytes: wrapped, inodes_used: wrapped }).nullish(),
      }),
    )
    .default([]),
});

export const interfaceUsage = z
  .object({
    name: z.string(),
    rx_bytes: wrapped,
    rx_errors: wrapped,
    tx_bytes: wrapped,
    tx_errors: wrapped,
  })
  .nullish();

export const sandboxStatsAnswer = z.object({
  stats: z
    .array(
      z.object({
        attributes: z.object({ id: z.string(), labels }),
        linux: z
          .object({
            cpu: cpuUsage,
            memory: memoryUsage,
            network: z.object({ default_interface: interfaceUsage }).nullish(),
            process: z.object({ process_count: wrapped }).nullish(),
          })
          .nullish(),
      }),
    )
    .default([]),
});

export const imageFsAnswer = z.object({
  image_filesystems: z.array(z.object({ fs_id: z.object({ mountpoint: z.string() }).nullish() })).default([]),
});

export const eventItem = z.object({
  container_id: z.string(),
  container_event_type: z.enum([
    'CONTAINER_CREATED_EVENT',
    'CONTAINER_STARTED_EVENT',
    'CONTAINER_STOPPED_EVENT',
    'CONTAINER_DELETED_EVENT',
  ]),
  pod_sandbox_status: z.object({ metadata: z.object({ uid: z.string() }), labels }).nullish(),
});
