/** Names of images as people write them: what is allowed, which registry is meant, and when "latest" is. */

const domain =
  '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*(?::[0-9]+)?';
const part = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const form = new RegExp(
  `^(?:(${domain})/)?(${part}(?:/${part})*)(?::([\\w][\\w.-]{0,127}))?(?:@([A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,}))?$`,
);
const nameMax = 255;
const defaultRegistry = 'docker.io';

export interface ImageName {
  /** Host and port; `docker.io` where none is named. */
  readonly registry: string;
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

/** Undefined for what is no name of an image. */
export function parseImageName(text: string): ImageName | undefined {
  const [, first, rest, tag, digest] = text.length > nameMax * 2 ? [] : (form.exec(text) ?? []);
  if (rest === undefined || rest.length > nameMax) return undefined;
  // `library/x` is a path; a host has a dot or a port, or is localhost.
  const isHost = first !== undefined && (/[.:]/.test(first) || first === 'localhost');
  if (first !== undefined && !isHost && first !== first.toLowerCase()) return undefined;
  const registry = isHost ? first : defaultRegistry;
  const path = isHost || first === undefined ? rest : `${first}/${rest}`;
  return { registry, path, tag, digest };
}

/** The form in which runtimes list an image: with registry and tag. */
export function fullImageName({ registry, path, tag, digest }: ImageName): string {
  const whole = registry === defaultRegistry && !path.includes('/') ? `library/${path}` : path;
  const named = tag === undefined && digest === undefined ? ':latest' : tag === undefined ? '' : `:${tag}`;
  return `${registry}/${whole}${named}${digest === undefined ? '' : `@${digest}`}`;
}

export type PullPolicy = 'Always' | 'IfNotPresent' | 'Never';

/** The policy of a container that names none. */
export function defaultPullPolicy(name: ImageName): PullPolicy {
  const isLatest = name.digest === undefined && (name.tag === undefined || name.tag === 'latest');
  return isLatest ? 'Always' : 'IfNotPresent';
}
