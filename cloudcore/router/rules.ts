/** The Rules and RuleEndpoints of the API, followed, and the routes that they make now. */

import { isDeepStrictEqual } from 'node:util';
import { Informer, type InformerComponents } from '#cloudcore/kube/informer.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { keyOfRule, planRules, type RuleKey, type RuleSet } from './rule-set.ts';

export const rulesVersion = 'rules.kubeedge.io/v1';

export class Rules {
  readonly #rules: Informer;
  readonly #endpoints: Informer;
  readonly #handlers = new Set<() => void>();
  #set: RuleSet | undefined;

  constructor(components: InformerComponents) {
    this.#rules = new Informer({ ref: { apiVersion: rulesVersion, plural: 'rules' } }, components);
    this.#endpoints = new Informer(
      { ref: { apiVersion: rulesVersion, plural: 'ruleendpoints' } },
      components,
    );
    this.#rules.onDelta(({ type, object, before }) => {
      const isLeaving = object.metadata.deletionTimestamp !== before?.metadata.deletionTimestamp;
      // Our own writes of the status change no route.
      if (type !== 'updated' || isLeaving || !isDeepStrictEqual(before?.spec, object.spec)) this.#changed();
    });
    this.#endpoints.onDelta(() => this.#changed());
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#rules.run(signal), this.#endpoints.run(signal)]);
  }

  get synced(): boolean {
    return this.#rules.synced && this.#endpoints.synced;
  }

  /** Resolves once both are known, or when the signal is aborted. */
  async whenSynced(signal: AbortSignal): Promise<void> {
    const both = Promise.all([this.#rules.whenSynced(), this.#endpoints.whenSynced()]);
    const stopped = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([both, stopped]);
  }

  /** Called when routes may have changed, also while the lists are still being read. */
  onChange(handler: () => void): void {
    this.#handlers.add(handler);
  }

  get set(): RuleSet {
    this.#set ??= planRules(this.#rules.list(), this.#endpoints.list());
    return this.#set;
  }

  get(key: RuleKey): KubeObject | undefined {
    const at = key.indexOf('/');
    return this.#rules.get(key.slice(0, at), key.slice(at + 1));
  }

  keys(): RuleKey[] {
    return [...this.#rules.list()].map(keyOfRule);
  }

  #changed(): void {
    this.#set = undefined;
    for (const handler of this.#handlers) handler();
  }
}
