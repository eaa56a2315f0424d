/**
 * Which versions of objects this connection has brought. A KubeEdge cloud may deliver an older version after a
 * newer one (wire 5.6); across connections versions say nothing, since an API may come back from a backup.
 */

const pathsMax = 20_000;

interface Seen {
  readonly uid: string | undefined;
  readonly version: bigint;
}

export class SeenVersions {
  readonly #seen = new Map<string, Seen>();

  /** True when this connection has already brought a newer version of the same object. */
  isStale(path: string, uid: string | undefined, resourceVersion: string | undefined): boolean {
    const seen = this.#seen.get(path);
    const version = numeric(resourceVersion);
    return seen !== undefined && version !== undefined && seen.uid === uid && version < seen.version;
  }

  note(path: string, uid: string | undefined, resourceVersion: string | undefined): void {
    const version = numeric(resourceVersion);
    this.#seen.delete(path);
    if (version === undefined) return;
    this.#seen.set(path, { uid, version });
    const oldest = this.#seen.keys().next();
    if (this.#seen.size > pathsMax && oldest.done !== true) this.#seen.delete(oldest.value);
  }

  forget(): void {
    this.#seen.clear();
  }
}

function numeric(resourceVersion: string | undefined): bigint | undefined {
  return resourceVersion !== undefined && /^\d{1,20}$/.test(resourceVersion)
    ? BigInt(resourceVersion)
    : undefined;
}
