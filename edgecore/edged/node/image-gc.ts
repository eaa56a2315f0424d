/**
 * Removes images when the filesystem that they are on gets full, the least recently used first. Never one that a
 * container is made from, whoever made it, that the runtime wants kept, or that a pod of this node names: the link
 * may be cut, and then it could not be had again.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { describeError } from '#protocol/errors.ts';
import type { EdgedMetrics } from '../edged-metrics.ts';
import type { NodeEvents } from '../events.ts';
import { type Image, RuntimeError, type RuntimeService } from '../runtime/runtime-service.ts';
import type { FilesystemUse } from './machine-use.ts';
import { goRounds } from './rounds.ts';

export interface ImageGcOptions {
  /** Above this part of the filesystem images are removed, until it is below the other. In percent. */
  readonly highPercent: number;
  readonly lowPercent: number;
  /** None that was seen first later than this. */
  readonly ageMinMs: number;
}

export interface ImageGcParts {
  readonly runtime: Pick<RuntimeService, 'listImages' | 'imagesInUse' | 'removeImage'>;
  readonly filesystem: () => Promise<FilesystemUse | undefined>;
  /** Full names of the images that stored pods name. */
  readonly wanted: () => ReadonlySet<string>;
  readonly events: NodeEvents;
  readonly counted: Pick<EdgedMetrics, 'imageRemoved'>;
  readonly clock: Clock;
  readonly log: Log;
}

interface Seen {
  readonly firstMs: number;
  lastUsedMs: number;
}

const everyMs = 300_000;

export class ImageGc {
  readonly #options: ImageGcOptions;
  readonly #with: ImageGcParts;
  readonly #seen = new Map<string, Seen>();
  #looked = false;
  #failed = false;

  constructor(options: ImageGcOptions, parts: ImageGcParts) {
    this.#options = options;
    this.#with = parts;
  }

  async run(signal: AbortSignal): Promise<void> {
    const look = async () => {
      await this.collect();
      return false;
    };
    await goRounds({ everyMs, look, fault: 'cannot look after the images' }, this.#with, signal);
  }

  /** Frees what the thresholds ask for. */
  async collect(): Promise<void> {
    const images = await this.#look();
    const { filesystem, events, log } = this.#with;
    const use = await filesystem();
    if (use === undefined || use.capacityBytes === 0) return;
    const { highPercent, lowPercent } = this.#options;
    const usedPercent = 100 - (use.availableBytes * 100) / use.capacityBytes;
    if (usedPercent < highPercent) {
      this.#failed = false;
      return;
    }
    const wantedBytes = (use.capacityBytes * (100 - lowPercent)) / 100 - use.availableBytes;
    log.info({ usedPercent: Math.round(usedPercent), highPercent, lowPercent }, 'removing unused images');
    const freedBytes = await this.#free(images, wantedBytes);
    if (freedBytes >= wantedBytes) {
      this.#failed = false;
      return;
    }
    const message = `Failed to garbage collect required amount of images. Attempted to free ${Math.round(wantedBytes)} bytes, but only found ${freedBytes} bytes eligible to free.`;
    // Once is an accident of the moment; people are told when it stays so.
    if (this.#failed) events.node('Warning', 'ImageGCFailed', message);
    this.#failed = true;
    log.warn({ wantedBytes: Math.round(wantedBytes), freedBytes }, 'too few images can be removed');
  }

  /** Frees all that may go: the disk is short. */
  async freeAll(): Promise<void> {
    await this.#free(await this.#look(), Number.POSITIVE_INFINITY);
  }

  /** Notes which images are there and which are used; answers those that may go. */
  async #look(): Promise<readonly Image[]> {
    const { runtime, wanted, clock } = this.#with;
    // In this order: an image whose container is created meanwhile is in use by the time we ask.
    const images = await runtime.listImages();
    const used = await runtime.imagesInUse();
    const named = wanted();
    const nowMs = clock.now();
    const there = new Set(images.map((it) => it.id));
    for (const id of this.#seen.keys()) if (!there.has(id)) this.#seen.delete(id);
    const free: Image[] = [];
    for (const image of images) {
      // What was there when we came is older than we can tell.
      const seen = this.#seen.get(image.id) ?? { firstMs: this.#looked ? nowMs : 0, lastUsedMs: 0 };
      this.#seen.set(image.id, seen);
      const names = [image.id, ...image.tags, ...image.digests];
      if (names.some((name) => used.has(name) || named.has(name))) seen.lastUsedMs = nowMs;
      else if (!image.pinned) free.push(image);
    }
    this.#looked = true;
    return free.sort(
      (a, b) =>
        this.#ageOf(a, 'lastUsedMs') - this.#ageOf(b, 'lastUsedMs') ||
        this.#ageOf(a, 'firstMs') - this.#ageOf(b, 'firstMs'),
    );
  }

  #ageOf({ id }: Image, which: keyof Seen): number {
    return this.#seen.get(id)?.[which] ?? 0;
  }

  async #free(images: readonly Image[], wantedBytes: number): Promise<number> {
    const { runtime, clock, log } = this.#with;
    let freedBytes = 0;
    for (const image of images) {
      if (freedBytes >= wantedBytes) break;
      if (clock.now() - this.#ageOf(image, 'firstMs') < this.#options.ageMinMs) continue;
      try {
        await runtime.removeImage(image.id);
        log.info({ image: image.tags[0] ?? image.id, bytes: image.sizeBytes }, 'image removed');
        this.#seen.delete(image.id);
        this.#with.counted.imageRemoved(image.sizeBytes);
        freedBytes += image.sizeBytes;
      } catch (error) {
        if (!(error instanceof RuntimeError)) throw error;
        log.warn({ image: image.tags[0] ?? image.id, why: describeError(error) }, 'cannot remove an image');
      }
    }
    return freedBytes;
  }
}
