/** What keadm is about to set up, as far as pre-flight must know it. */

import type { CgroupDriver } from '#edgecore/edged/runtime/cri/cgroups.ts';

export interface PlannedPort {
  readonly port: number;
  readonly host: string;
  readonly use: string;
  /** The flag that moves it. */
  readonly change: string;
}

export interface PlannedCloud {
  readonly host: string;
  /** CloudHub's, and the one for certificates. */
  readonly ports: readonly [hub: number, certificates: number];
}

export interface Plan {
  readonly role: 'cloud' | 'edge';
  /** The disk that will be used. */
  readonly dataDir: string;
  readonly runtime: 'auto' | 'process' | 'cri';
  /** `unix:///run/…` or a path. */
  readonly runtimeEndpoint: string;
  /** Undefined: the runtime's own is used. */
  readonly cgroupDriver: CgroupDriver | undefined;
  /** Undefined: the host name is taken. */
  readonly nodeName: string | undefined;
  readonly ports: readonly PlannedPort[];
  /** Undefined: not known, or this is the cloud. */
  readonly cloud: PlannedCloud | undefined;
}

export const defaultRuntimeEndpoint = 'unix:///run/containerd/containerd.sock';
