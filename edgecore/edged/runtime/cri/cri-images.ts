/** The images of a container runtime: they are the machine's, and no instance id stands on them. */

import { z } from 'zod';
import { type Image, type PullOptions, RuntimeError } from '../runtime-service.ts';
import { imageOf } from './cri-answers.ts';
import { type CriCalls, unlessGone } from './cri-calls.ts';
import * as messages from './cri-messages.ts';

/** Large images come over slow links; a pull that is not wanted any more is cancelled by its signal. */
const pullMs = 3_600_000;

export class CriImages {
  readonly #calls: CriCalls;

  constructor(calls: CriCalls) {
    this.#calls = calls;
  }

  async pull(reference: string, { auth, signal }: PullOptions, closed: AbortSignal): Promise<string> {
    const credentials =
      auth === undefined
        ? {}
        : {
            auth: {
              username: auth.username,
              password: auth.password,
              identity_token: auth.identityToken ?? '',
            },
          };
    const request = { image: { image: reference }, ...credentials };
    const either = signal === undefined ? closed : AbortSignal.any([signal, closed]);
    const options = { timeoutMs: pullMs, signal: either };
    try {
      const answer = await this.#calls.call('ImageService/PullImage', request, messages.pullAnswer, options);
      return answer.image_ref;
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      if (error.code === 'unavailable' || error.code === 'timeout') throw error;
      const detail = { code: 'cannot-pull', image: reference } as const;
      throw new RuntimeError(error.message, detail, { retry: 'backoff', cause: error });
    }
  }

  async list(): Promise<readonly Image[]> {
    const { images } = await this.#calls.read('ImageService/ListImages', {}, messages.imagesAnswer);
    return images.map(imageOf);
  }

  async status(reference: string): Promise<Image | undefined> {
    const request = { image: { image: reference } };
    const method = 'ImageService/ImageStatus';
    const answer = await unlessGone(this.#calls.read(method, request, messages.imageStatusAnswer));
    return answer?.image ? imageOf(answer.image) : undefined;
  }

  async remove(reference: string): Promise<void> {
    const request = { image: { image: reference } };
    await unlessGone(this.#calls.change('ImageService/RemoveImage', request, messages.emptyAnswer));
  }

  /** Also the image of sandboxes: old runtimes do not pin it, and without it no pod starts while the link is cut. */
  async inUse(): Promise<ReadonlySet<string>> {
    const [{ containers }, { info }] = await Promise.all([
      this.#calls.read('RuntimeService/ListContainers', {}, messages.containersAnswer),
      this.#calls.read('RuntimeService/Status', { verbose: true }, messages.statusAnswer),
    ]);
    const used = containers.flatMap((it) => [it.image_ref, it.image_id, it.image?.image ?? '']);
    return new Set([...used, ...sandboxImages(info)].filter((it) => it !== ''));
  }

  async directory(): Promise<string | undefined> {
    const method = 'ImageService/ImageFsInfo';
    const { image_filesystems: filesystems } = await this.#calls.read(method, {}, messages.imageFsAnswer);
    return filesystems[0]?.fs_id?.mountpoint || undefined;
  }
}

const sandboxImageSchema = z.looseObject({ sandboxImage: z.string() });

/** containerd's verbose status has its configuration, which names the image of sandboxes; CRI-O pins its own. */
function sandboxImages(info: Readonly<Record<string, string>>): string[] {
  try {
    const config = sandboxImageSchema.safeParse(JSON.parse(info.config ?? 'null'));
    return config.success ? [config.data.sandboxImage] : [];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}
