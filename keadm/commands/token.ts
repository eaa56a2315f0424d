/**
 * `keadm token create|list|delete`: join tokens with a name, a lifetime, a number of uses and a node, beside the
 * default one that cloudcore renews, which can be taken back like the others. Only the administrator who may read cloudcore's signing key can make them.
 */

import { systemClock } from '#beehive/clock.ts';
import {
  type NamedToken,
  NamedTokens,
  type TokenTerms,
  tokenIdPattern,
} from '#cloudcore/cloudhub/named-tokens.ts';
import { RollingToken, readClaims, rollingTokenId } from '#cloudcore/cloudhub/rolling-token.ts';
import { openTokenIssuer } from '#cloudcore/cloudhub/token.ts';
import { createKubeApi } from '#cloudcore/kube/client.ts';
import { isNotFound, type KubeApi } from '#cloudcore/kube/kube-api.ts';
import { parseDurationMs } from '#edgecore/edged/duration.ts';
import { KeadmError } from '../errors.ts';
import { findKubeconfig } from '../kubeconfig.ts';
import { getToken, readToken } from './gettoken.ts';

export interface TokenPlace {
  readonly kubeConfig?: string | undefined;
  readonly dataDir?: string | undefined;
}

export interface NewToken {
  readonly text: string;
  readonly token: NamedToken;
}

const keptAfterExpiryMs = 7 * 86_400_000;
/** Node names as Kubernetes has them. */
const nodePattern = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** The flags of `token create` as terms. @throws KeadmError `bad-flag` */
export function readTerms(
  flags: { readonly ttl: string; readonly uses?: string | undefined; readonly node?: string | undefined },
  nowMs: number,
): TokenTerms {
  const ttlMs = flags.ttl === '0' ? 0 : parseDurationMs(flags.ttl);
  if (ttlMs === undefined || (ttlMs !== 0 && ttlMs < 1000))
    throw badFlag('--ttl', `"${flags.ttl}" is not a time such as 24h, 30m or 90s; 0 means for ever`);
  const uses = flags.uses === undefined ? undefined : Number(flags.uses);
  if (uses !== undefined && !(Number.isSafeInteger(uses) && uses > 0))
    throw badFlag('--uses', `"${flags.uses}" is not a number of at least 1`);
  if (flags.node !== undefined && !nodePattern.test(flags.node))
    throw badFlag('--node', `"${flags.node}" cannot be a node's name`);
  // A JWT counts whole seconds: the list and the verdict must end at the same one.
  const expiresMs = ttlMs === 0 ? undefined : Math.ceil((nowMs + ttlMs) / 1000) * 1000;
  return { expiresMs, usesMax: uses, node: flags.node };
}

/** The token's text is nowhere kept: it is what this returns, or lost. */
export async function createToken(
  flags: Parameters<typeof readTerms>[0],
  place: TokenPlace,
): Promise<NewToken> {
  const terms = readTerms(flags, systemClock.now());
  const api = await openApi(place);
  // The default token begins with the hash of this cloud's CA; without one there is no cloud yet.
  const caHash = (await getToken(place)).split('.')[0] ?? '';
  const issuer = await openTokenIssuer({ api, clock: systemClock });
  const tokens = new NamedTokens({ api, clock: systemClock });
  await forgetLongExpired(tokens);
  const token = await tokens.create(terms);
  return { token, text: await issuer.issueNamed(caHash, token) };
}

/** So that they do not gather; what expired lately is still of interest in the list. */
async function forgetLongExpired(tokens: NamedTokens): Promise<void> {
  const beforeMs = systemClock.now() - keptAfterExpiryMs;
  for (const { id, expiresMs } of await tokens.list())
    if (expiresMs !== undefined && expiresMs < beforeMs) await tokens.delete(id);
}

/** Of the default token nobody counts the uses. */
export type ListedToken = Omit<NamedToken, 'uses'> & { readonly uses: number | undefined };

/** The default one first, then the oldest. */
export async function listTokens(place: TokenPlace): Promise<ListedToken[]> {
  const api = await openApi(place);
  const named = await new NamedTokens({ api, clock: systemClock }).list();
  const claims = readClaims(await printedToken(api));
  if (claims === undefined) return named;
  const { createdMs, expiresMs } = claims;
  const any = { uses: undefined, usesMax: undefined, node: undefined };
  return [{ id: rollingTokenId, createdMs, expiresMs, ...any }, ...named];
}

/** Empty when cloudcore has made none yet. */
async function printedToken(api: KubeApi): Promise<string> {
  try {
    return await readToken(api);
  } catch (error) {
    if (isNotFound(error)) return '';
    throw error;
  }
}

/** @throws KeadmError `not-found` */
export async function deleteToken(id: string, place: TokenPlace): Promise<void> {
  if (id === rollingTokenId) {
    const api = await openApi(place);
    const issuer = await openTokenIssuer({ api, clock: systemClock });
    return new RollingToken({ issuer, api, clock: systemClock }).revoke();
  }
  if (!tokenIdPattern.test(id))
    throw badFlag('ID', `"${id}" is not the id of a token; \`keadm token list\` shows them`);
  if (await new NamedTokens({ api: await openApi(place), clock: systemClock }).delete(id)) return;
  throw new KeadmError(`there is no token ${id}; \`keadm token list\` shows those there are`, {
    code: 'not-found',
    what: `token ${id}`,
  });
}

/** One line a token under a head, in columns. */
export function formatTokens(tokens: readonly ListedToken[], nowMs: number): string {
  const rows = tokens.map(({ id, expiresMs, uses, usesMax, node, createdMs }) => [
    id,
    expiresMs === undefined ? 'forever' : expiresMs <= nowMs ? 'expired' : spell(expiresMs - nowMs),
    uses === undefined ? 'any' : `${uses}/${usesMax ?? 'any'}`,
    node ?? 'any',
    new Date(createdMs).toISOString().replace(/\.\d+Z$/, 'Z'),
  ]);
  const table = [['ID', 'TTL', 'USES', 'NODE', 'CREATED'], ...rows];
  const widths = [0, 1, 2, 3].map((at) => Math.max(...table.map((row) => row[at]?.length ?? 0)));
  return table.map((row) => row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  ')).join('\n');
}

/** The two largest units: `1d 3h`, `23h 59m`, `2s`. */
function spell(ms: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const;
  let restMs = ms;
  const parts = units.map(([unit, unitMs]) => {
    const amount = Math.floor(restMs / unitMs);
    restMs -= amount * unitMs;
    return { unit, amount };
  });
  const first = parts.findIndex(({ amount }) => amount > 0);
  if (first < 0) return '0s';
  const shown = parts.slice(first, first + 2).filter(({ amount }) => amount > 0);
  return shown.map(({ unit, amount }) => `${amount}${unit}`).join(' ');
}

async function openApi({ kubeConfig, dataDir }: TokenPlace): Promise<KubeApi> {
  return createKubeApi(findKubeconfig(kubeConfig, dataDir));
}

function badFlag(flag: string, what: string): KeadmError {
  return new KeadmError(`${flag}: ${what}`, { code: 'bad-flag', flag });
}
