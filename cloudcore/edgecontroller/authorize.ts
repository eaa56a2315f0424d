/**
 * May this node do this? Pure. A node reads and writes its own Node, its Lease, the pods bound to it and what those
 * pods name, and nothing else; its name comes from its certificate. What an edge says about itself proves nothing.
 */

import { z } from 'zod';
import type { ObjectCache } from '#cloudcore/kube/objects.ts';
import { nodeNameOf, referencesOf } from '#cloudcore/kube/pod-references.ts';
import { mirrorAnnotation } from '#protocol/names.ts';
import { formatObjectPath, type ObjectPath } from '#protocol/resource-path.ts';
import { eventPatchSchema, eventSchema } from '#protocol/resources/event.ts';
import { type KubeObject, kubeObjectSchema } from '#protocol/resources/object.ts';
import { tokenRequestSchema } from '#protocol/resources/token-request.ts';
import { requestNameOf } from './upstream-certificates.ts';

export type Verdict = { readonly allowed: true } | { readonly allowed: false; readonly reason: string };

export type AuthorizeCache = Pick<ObjectCache, 'get' | 'references'>;

const allowed: Verdict = { allowed: true };
const leaseNamespace = 'kube-node-lease';

/** @param kind `<type>/<operation>` as in upstream.ts */
export function authorize(
  node: string,
  kind: string,
  path: ObjectPath & { readonly name: string },
  content: unknown,
  cache: AuthorizeCache,
): Verdict {
  switch (path.type) {
    case 'node':
    case 'nodepatch':
    case 'nodestatus':
      return check(path.name === node, `node "${node}" may not act for node "${path.name}"`);
    case 'lease':
      return check(
        path.name === node && path.namespace === leaseNamespace,
        `node "${node}" has only the lease ${leaseNamespace}/${node}`,
      );
    case 'pod':
      return kind === 'pod/insert' ? mayMirror(node, content) : ownPod(node, path, cache);
    case 'podpatch':
    case 'podstatus':
      return ownPod(node, path, cache);
    case 'configmap':
    case 'secret':
    case 'persistentvolumeclaim':
      return check(
        cache.references(node, formatObjectPath(path)),
        `no pod of node "${node}" names ${path.type} ${path.namespace}/${path.name}`,
      );
    case 'serviceaccounttoken':
      return mayHaveToken(node, path, content, cache);
    case 'event':
      return mayReport(node, content);
    case 'persistentvolume':
    case 'volumeattachment':
      // Whose it is stands in it: checked once it has been read.
      return allowed;
    case 'certificatesigningrequest':
      return check(
        path.name === requestNameOf(node),
        `node "${node}" has only the certificate request ${requestNameOf(node)}`,
      );
    case 'ca.crt':
      return check(path.namespace === 'k8s', `there is no ${path.namespace}/ca.crt`);
    default:
      return { allowed: false, reason: `an edge has no business with "${path.type}"` };
  }
}

/** A volume belongs to the node that has a pod which names the claim that the volume is bound to. */
export function authorizeVolume(node: string, volume: KubeObject, cache: AuthorizeCache): Verdict {
  const { data } = volumeSchema.safeParse(volume);
  const claim = data?.spec.claimRef;
  const path = { namespace: claim?.namespace, type: 'persistentvolumeclaim', name: claim?.name };
  return check(
    claim !== undefined && cache.references(node, formatObjectPath(path)),
    `no pod of node "${node}" claims volume ${volume.metadata.name}`,
  );
}

/** An attachment is between a volume and the node that it names. */
export function authorizeAttachment(node: string, attachment: KubeObject): Verdict {
  const { data } = attachmentSchema.safeParse(attachment);
  return check(
    data?.spec.nodeName === node,
    `volume attachment ${attachment.metadata.name} is not node "${node}"'s`,
  );
}

const attachmentSchema = z.looseObject({ spec: z.looseObject({ nodeName: z.string() }) });

const volumeSchema = z.looseObject({
  spec: z.looseObject({ claimRef: z.looseObject({ namespace: z.string(), name: z.string() }) }),
});

/** A pod that the cache does not have cannot be acted on, so there is nothing to refuse: the API will say so. */
function ownPod(node: string, path: ObjectPath & { readonly name: string }, cache: AuthorizeCache): Verdict {
  const pod = cache.get('pod', path.namespace, path.name);
  return check(
    pod === undefined || nodeNameOf(pod) === node,
    `pod ${path.namespace}/${path.name} is not bound to node "${node}"`,
  );
}

/** A mirror pod must not become the key to objects that the node could not read before. */
function mayMirror(node: string, content: unknown): Verdict {
  const pod = kubeObjectSchema.safeParse(content).data;
  if (pod === undefined || nodeNameOf(pod) !== node) {
    return { allowed: false, reason: `node "${node}" may create pods for itself only` };
  }
  if (!Object.hasOwn(pod.metadata.annotations ?? {}, mirrorAnnotation)) {
    return { allowed: false, reason: `node "${node}" may create mirror pods only` };
  }
  const foreign = (pod.metadata.ownerReferences ?? []).find((it) => it.kind !== 'Node' || it.name !== node);
  if (foreign !== undefined)
    return {
      allowed: false,
      reason: `a mirror pod belongs to its node, not to ${foreign.kind} ${foreign.name}`,
    };
  const { configMaps, secrets, claims } = referencesOf(pod);
  const account = accountSchema.safeParse(pod.spec).data;
  const namesAccount = Boolean(account?.serviceAccountName || account?.serviceAccount);
  const bare = configMaps.size + secrets.size + claims.size === 0 && !namesAccount;
  return check(bare, 'a mirror pod may not name configMaps, secrets, claims or a service account');
}

const accountSchema = z.looseObject({
  serviceAccountName: z.string().nullish(),
  serviceAccount: z.string().nullish(),
});

/** Tokens are given for a pod of the node that runs under the account, and die with that pod. */
function mayHaveToken(
  node: string,
  path: ObjectPath & { readonly name: string },
  content: unknown,
  cache: AuthorizeCache,
): Verdict {
  const bound = tokenRequestSchema.safeParse(content).data?.spec.boundObjectRef;
  const pod = bound?.kind === 'Pod' && bound.name ? cache.get('pod', path.namespace, bound.name) : undefined;
  const ok =
    pod !== undefined &&
    nodeNameOf(pod) === node &&
    pod.metadata.uid === bound?.uid &&
    referencesOf(pod).serviceAccount === path.name;
  return check(ok, `no such pod of node "${node}" runs as service account ${path.namespace}/${path.name}`);
}

function mayReport(node: string, content: unknown): Verdict {
  const event = eventSchema.safeParse(content).data ?? eventPatchSchema.safeParse(content).data?.event;
  const about = event?.involvedObject;
  const own = event?.source?.host === node && (about?.kind !== 'Node' || about.name === node);
  return check(own, `node "${node}" may report events of its own only`);
}

function check(ok: boolean, reason: string): Verdict {
  return ok ? allowed : { allowed: false, reason };
}
