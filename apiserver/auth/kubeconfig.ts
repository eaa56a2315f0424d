/** Kubeconfig files with embedded client certificates. */

import { stringify } from 'yaml';
import type { KeyPair } from './pki.ts';

export function kubeconfig(options: {
  readonly server: string;
  readonly caCertificate: string;
  readonly user: string;
  readonly client: KeyPair;
}): string {
  const { server, caCertificate, user, client } = options;
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        { name: 'hawser', cluster: { server, 'certificate-authority-data': base64(caCertificate) } },
      ],
      users: [
        {
          name: user,
          user: {
            'client-certificate-data': base64(client.certificate),
            'client-key-data': base64(client.key),
          },
        },
      ],
      contexts: [{ name: `${user}@hawser`, context: { cluster: 'hawser', user } }],
      'current-context': `${user}@hawser`,
    },
    { lineWidth: 0 },
  );
}
