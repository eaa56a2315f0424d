/**
 * `keadm join`: this machine becomes an edge node. The token's hash pins the cloud's CA before the token is
 * sent; the certificate is fetched here, so the token is never written to disk. May be repeated.
 */

import { randomUUID } from 'node:crypto';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { packageVersion } from '#beehive/package-root.ts';
import { formatYaml, parseYamlDocuments } from '#beehive/yaml.ts';
import { KeadmError } from '../errors.ts';
import { daemonArgv, type Host } from '../host.ts';
import { Journal } from '../journal.ts';
import { type EdgeLayout, edgeLayout } from '../layout.ts';
import { findFreePort } from '../ports.ts';
import type { Service } from '../service/service.ts';
import { applySet, type ConfigTree } from '../set-flag.ts';
import { waitFor } from '../wait.ts';

export interface JoinOptions {
  /** `host:port` of CloudHub's WebSocket listener. */
  readonly cloudcoreIpPort: string;
  readonly token: string;
  readonly nodeName?: string | undefined;
  readonly certPort?: number | undefined;
  readonly dataDir?: string | undefined;
  readonly runtime?: 'auto' | 'process' | 'cri' | undefined;
  readonly runtimeEndpoint?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly set?: readonly string[] | undefined;
}
