/**
 * MetaManager, DeviceTwin and EventBus on a real store, fed with what a hostile cloud and hostile mappers might
 * send. Nothing may fail inside: an error in their log is a fault. They are started anew on the same store from
 * time to time, since what was stored must not hinder a start.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bus } from '#beehive/bus.ts';
import { systemClock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { seededRandom } from '#beehive/random.ts';
import { createDeviceTwin, deviceTwinInbox } from '#edgecore/devicetwin/devicetwin.ts';
import { createMetaManager, metaManagerInbox } from '#edgecore/metamanager/metamanager.ts';
import { openDatabase, type Store } from '#edgecore/store/database.ts';
import { HawserError } from '#protocol/errors.ts';
import { replyError } from '#protocol/message.ts';
import { source } from '#protocol/names.ts';
import { decodeFrame } from '#protocol/wire/json-frame.ts';
import { type Chaos, textOf } from './chaos.ts';
import { type Corpus, jsonOf } from './corpus.ts';
import { refusal, type Target, type Verdict } from './target.ts';

/** What one life takes; its store is thrown away after a few, or it would grow with the number of cases. */
const casesPerLife = 500;
const livesPerStore = 4;

const neighbours = ['edged', 'edgehub', 'eventbus'];

export function edgeTarget(corpus: Corpus): Target {
  const edge = new HostileEdge();
  const down = corpus.down.map(jsonOf);
  return {
    name: 'modules of the edge',
    share: 0.05,
    atOnce: 32,
    async run(chaos) {
      await edge.ready();
      if (chaos.chance(0.5)) return edge.frame(chaos.json(chaos.pick(down)));
      const { topic, payload } = chaos.pick(corpus.mqtt);
      return edge.publish(chaos.chance(0.8) ? topic : chaos.text(topic), payloadOf(payload, chaos));
    },
    close: () => edge.end(),
  };
}

function payloadOf(payload: unknown, chaos: Chaos): string {
  if (typeof payload !== 'string') return chaos.json(jsonOf(payload));
  if (chaos.chance(0.3)) return chaos.text(payload);
  try {
    return chaos.json(jsonOf(JSON.parse(payload)));
  } catch {
    return textOf(payload);
  }
}

class HostileEdge {
  #dir = '';
  #lives = 0;
  #cases = 0;
  #bus: Bus | undefined;
  #store: Store | undefined;
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #turn: Promise<void> = Promise.resolve();
  readonly #errors: unknown[] = [];

  /** One after the other: starts what is not running, and ends what has lived long enough. */
  ready(): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      this.#cases += 1;
      if (this.#bus !== undefined && this.#cases < casesPerLife) return;
      await this.#stopModules();
      if (this.#lives % livesPerStore === 0) await this.#clear();
      this.#lives += 1;
      this.#cases = 0;
      await this.#start();
    });
    return this.#turn;
  }

  async frame(text: string): Promise<Verdict> {
    try {
      const envelope = decodeFrame(text);
      const to = envelope.route.group === 'twin' ? source.twin : source.metaManager;
      await this.#send(to, envelope);
      return 'taken';
    } catch (error) {
      return refusal(error);
    }
  }

  async publish(topic: string, content: string): Promise<Verdict> {
    await this.#send(source.twin, {
      header: { msg_id: crypto.randomUUID(), timestamp: 0 },
      route: { source: source.bus, group: 'twin', operation: 'publish', resource: topic },
      content,
    });
    return 'taken';
  }

  async end(): Promise<void> {
    await this.#stopModules();
    await this.#clear();
  }

  async #send(to: string, envelope: Parameters<Bus['send']>[1]): Promise<void> {
    const bus = this.#bus;
    if (bus === undefined) throw new TypeError('not started');
    await bus.drained(to);
    bus.send(to, envelope);
    await new Promise((resolve) => setImmediate(resolve));
    const [error] = this.#errors.splice(0);
    if (error !== undefined) throw error;
  }

  async #start(): Promise<void> {
    if (this.#dir === '') this.#dir = mkdtempSync(join(tmpdir(), 'hawser-fuzz-edge-'));
    const log = this.#log();
    const bus = new Bus({ clock: systemClock, log });
    const store = openDatabase(join(this.#dir, 'edgecore.db'), { log });
    const components = { bus, store, clock: systemClock, random: seededRandom(1), log };
    const stop = new AbortController();
    bus.open(source.metaManager, metaManagerInbox);
    bus.open(source.twin, deviceTwinInbox);
    const serving = neighbours.map((name) => {
      bus.open(name, { capacity: 100_000, lanesMax: 1, keyOf: () => '' });
      return bus.serve(name, async (envelope) => void bus.answer(replyError(envelope, 'no')), stop.signal);
    });
    const modules = [
      createMetaManager(
        { remoteQueryTimeoutMs: 100, modules: [source.metaManager, source.edged, source.twin] },
        { ...components, metrics: createMetrics() },
      ),
      createDeviceTwin({ nodeName: 'ke-edge-1' }, { ...components, metrics: createMetrics() }),
    ];
    const ready = modules.map(
      (module) =>
        new Promise<void>((resolve, reject) => {
          const run = module.run(stop.signal, resolve);
          run.catch(reject);
          serving.push(run);
        }),
    );
    await Promise.all(ready);
    this.#bus = bus;
    this.#store = store;
    this.#stop = stop;
    this.#running = Promise.all(serving);
  }

  async #stopModules(): Promise<void> {
    if (this.#bus === undefined) return;
    while ([...this.#bus.depths().values()].some((depth) => depth > 0)) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#stop.abort();
    await this.#running;
    await this.#store?.close();
    this.#bus = undefined;
    this.#store = undefined;
    const [error] = this.#errors.splice(0);
    if (error !== undefined) throw error;
  }

  async #clear(): Promise<void> {
    if (this.#dir !== '') rmSync(this.#dir, { recursive: true, force: true });
    this.#dir = '';
  }

  /** Keeps what is logged as an error. */
  #log(): Log {
    const log: Log = {
      ...silentLog,
      error: (fields, text) => {
        const cause = 'err' in fields ? fields.err : fields;
        this.#errors.push(new Error(`logged: ${text}`, { cause }));
      },
      // A warning about an error that is not ours hides a mistake.
      warn: (fields, text) => {
        if ('err' in fields && !(fields.err instanceof HawserError)) log.error(fields, text);
      },
      child: () => log,
    };
    return log;
  }
}
