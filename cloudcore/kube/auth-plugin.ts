/**
 * Credential plug-ins (exec, OIDC, cloud vendors) and proxies of a kubeconfig, by the official client library.
 * It is loaded only for kubeconfigs that need it.
 */

import type { Agent } from 'node:http';
import type { RequestOptions } from 'node:https';

export interface PluginAuth {
  /** An agent with the plug-in's certificates (or the proxy) and the headers that authenticate. */
  fresh(): Promise<{ readonly agent: Agent | undefined; readonly headers: Record<string, string> }>;
}

export async function loadPluginAuth(kubeconfig: string): Promise<PluginAuth> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  return {
    async fresh() {
      const options: RequestOptions = {};
      await config.applyToHTTPSOptions(options);
      const headers: Record<string, string> = {};
      for (const [name, value] of Object.entries(options.headers ?? {})) {
        if (value !== undefined) headers[name] = String(value);
      }
      if (options.auth) headers.Authorization = `Basic ${Buffer.from(options.auth).toString('base64')}`;
      return { agent: typeof options.agent === 'object' ? options.agent : undefined, headers };
    },
  };
}
