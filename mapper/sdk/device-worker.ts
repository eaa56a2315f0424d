/**
 * One device at work: its driver is started, wishes are written until they are, values are read and reported in
 * their cycles. The driver is called by one at a time, and nothing it does ends the mapper.
 */

import { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import type { Scalar } from '#protocol/dmi/any-value.ts';
import { CancelledError, describeError } from '#protocol/errors.ts';
import type { DeviceState, Driver, DriverClass } from '../hawser-mapper.ts';
import { MapperError } from './mapper-error.ts';
import type { Push } from './push.ts';
import { type DeviceSpec, differInWishesOnly, type PropertySpec } from './spec.ts';
import { fromText, toText } from './values.ts';

/** The edge, as a device sees it. Resolves false when it could not be told. */
export interface Reports {
  twin(spec: DeviceSpec, property: PropertySpec, value: string): Promise<boolean>;
  state(spec: DeviceSpec, state: DeviceState): Promise<boolean>;
}

export interface WorkerComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly reports: Reports;
  readonly push: Push;
}

const driverTimeoutMs = 10_000;
const retryPause = { firstMs: 500, maxMs: 30_000, jitter: 0.2 };
/** Calls of a driver that may wait for their turn. */
const callsWaitingMax = 256;

export class DeviceWorker {
  readonly #driverClass: DriverClass;
  readonly #components: WorkerComponents;
  readonly #stop = new AbortController();
  readonly #wakes = new Map<string, AbortController>();
  readonly #written = new Map<string, string>();
  readonly #said = new Map<string, string>();
  readonly #driver: Driver;
  #spec: DeviceSpec;
  #loops: Promise<unknown> = Promise.resolve();
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #reads: 'online' | 'offline' | 'unknown' = 'unknown';
  /** Its init has succeeded. */
  #ready = false;

  constructor(spec: DeviceSpec, driverClass: DriverClass, components: WorkerComponents) {
    this.#spec = spec;
    this.#driverClass = driverClass;
    this.#components = components;
    this.#driver = new this.#driverClass(spec.device);
  }

  get spec(): DeviceSpec {
    return this.#spec;
  }

  start(): void {
    for (const { property, unserved } of this.#spec.properties) {
      for (const what of unserved) {
        const reason = `${what} is nothing that this mapper does: drop it, or use a mapper that does`;
        this.#say(`serve ${property.name}`, new MapperError(reason, { code: 'refused' }));
      }
    }
    this.#loops = this.#run().catch((error: unknown) => {
      if (!(error instanceof CancelledError)) this.#say('device', error);
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loops;
    if (this.#driver.stop === undefined) return;
    await this.#call(() => this.#driver.stop?.() ?? Promise.resolve()).catch((error: unknown) =>
      this.#say('stop', error),
    );
  }

  /** True when the change was taken over; false when it needs a new driver. */
  change(spec: DeviceSpec): boolean {
    if (!differInWishesOnly(this.#spec, spec)) return false;
    this.#spec = spec;
    for (const wake of this.#wakes.values()) wake.abort();
    return true;
  }

  /** @throws MapperError, and what the driver throws */
  async read(name: string): Promise<string> {
    const { property } = this.#property(name);
    this.#assertReady();
    try {
      const value = toText(await this.#call(() => this.#driver.read(property)));
      this.#reads = 'online';
      return value;
    } catch (error) {
      this.#reads = 'offline';
      throw error;
    }
  }

  /** @throws MapperError, and what the driver throws */
  async write(name: string, text: string): Promise<void> {
    const { property } = this.#property(name);
    this.#assertReady();
    if (property.readOnly) throw new MapperError(`${name} is read-only`, { code: 'refused' });
    const value = fromText(property.type, text);
    if (value === undefined) throw new MapperError(`"${text}" is no ${property.type}`, { code: 'refused' });
    checkRange(property, value);
    if (this.#driver.write === undefined)
      throw new MapperError('this driver writes nothing', { code: 'refused' });
    await this.#call(() => this.#driver.write?.(property, value) ?? Promise.resolve());
  }

  async #run(): Promise<void> {
    const { reportState, stateMs } = this.#spec;
    const states = reportState
      ? this.#every(
          'state',
          () => stateMs,
          () => this.#reportState(),
        )
      : Promise.resolve();
    await Promise.all([states, this.#init().then(() => this.#work())]);
  }

  async #work(): Promise<void> {
    const loops: Promise<void>[] = [];
    for (const { property, collectMs, pushMs, reportToCloud, http, mqtt } of this.#spec.properties) {
      const { name } = property;
      // Streams are not values: a driver that has them handles them itself.
      if (property.type === 'stream') continue;
      if (!property.readOnly) loops.push(this.#writeWishes(name));
      if (reportToCloud)
        loops.push(
          this.#every(
            `report ${name}`,
            () => collectMs,
            () => this.#report(name),
          ),
        );
      if (http || mqtt)
        loops.push(
          this.#every(
            `push ${name}`,
            () => pushMs,
            () => this.#push(name),
          ),
        );
    }
    await Promise.all(loops);
  }

  /** Until it succeeds, or the device is stopped. */
  async #init(): Promise<void> {
    const pause = new Backoff(retryPause, this.#components.random);
    while (!this.#ready) {
      try {
        await this.#call(() => this.#driver.init?.() ?? Promise.resolve());
        this.#ready = true;
      } catch (error) {
        this.#reads = 'offline';
        this.#say('init', error);
        await this.#components.clock.sleep(pause.nextMs(), this.#stop.signal);
      }
    }
  }

  /** Until the device is stopped; what fails is tried again in the next cycle. */
  async #every(what: string, cycleMs: () => number, work: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#attempt(what, work);
      await this.#pause(what, cycleMs());
    }
  }

  /** A wish is written once, and again until that succeeds. */
  async #writeWishes(name: string): Promise<void> {
    const pause = new Backoff(retryPause, this.#components.random);
    const what = `write ${name}`;
    while (!this.#stop.signal.aborted) {
      const { desired } = this.#property(name);
      let ms = 3_600_000;
      if (desired !== undefined && this.#written.get(name) !== desired) {
        const done = await this.#attempt(what, async () => {
          await this.write(name, desired);
          this.#written.set(name, desired);
        });
        if (done) {
          pause.reset();
          this.#wakes.get(`report ${name}`)?.abort();
        } else ms = pause.nextMs();
      }
      await this.#pause(what, ms, () => this.#property(name).desired !== desired);
    }
  }

  async #report(name: string): Promise<void> {
    const value = await this.read(name);
    await this.#components.reports.twin(this.#spec, this.#property(name), value);
  }

  async #push(name: string): Promise<void> {
    const { http, mqtt } = this.#property(name);
    const value = await this.read(name);
    const { push } = this.#components;
    if (http !== undefined) await push.http(http, name, value, this.#stop.signal);
    if (mqtt !== undefined) await push.mqtt(mqtt, value);
  }

  async #reportState(): Promise<void> {
    const ask = this.#driver.state;
    const state =
      ask === undefined || !this.#ready ? this.#reads : await this.#call(() => ask.call(this.#driver));
    await this.#components.reports.state(this.#spec, state);
  }

  async #attempt(what: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      this.#said.delete(what);
      return true;
    } catch (error) {
      if (error instanceof CancelledError) throw error;
      this.#say(what, error);
      return false;
    }
  }

  async #pause(what: string, ms: number, changed = () => false): Promise<void> {
    const { signal } = this.#stop;
    const wake = new AbortController();
    this.#wakes.set(what, wake);
    if (changed()) return;
    await this.#components.clock.sleep(ms, AbortSignal.any([signal, wake.signal])).catch(() => {});
  }

  /** One call at a time, in the order asked for, each with its time. */
  #call<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= callsWaitingMax)
      return Promise.reject(new MapperError('too many calls wait for the device', { code: 'busy' }));
    this.#waiting += 1;
    const done = this.#turn.then(async () => {
      const inTime = new AbortController();
      const late = this.#components.clock.sleep(driverTimeoutMs, inTime.signal).then(
        () => {
          throw new MapperError(`the driver took longer than ${driverTimeoutMs} ms`, { code: 'timeout' });
        },
        () => new Promise<never>(() => {}),
      );
      try {
        return await Promise.race([work(), late]);
      } finally {
        inTime.abort();
        this.#waiting -= 1;
      }
    });
    this.#turn = done.catch(() => {});
    return done;
  }

  #assertReady(): void {
    if (this.#ready) return;
    const { namespace, name } = this.#spec.device;
    const reason = this.#said.get('init');
    const text = `${namespace}/${name} has not started yet${reason === undefined ? '' : `: ${reason}`}`;
    throw new MapperError(text, { code: 'unavailable' });
  }

  #property(name: string): PropertySpec {
    const found = this.#spec.properties.find(({ property }) => property.name === name);
    if (found === undefined) throw new MapperError(`the device has no property ${name}`, { code: 'unknown' });
    return found;
  }

  /** What fails again and again in the same way is said once. */
  #say(what: string, error: unknown): void {
    const reason = describeError(error);
    if (this.#said.get(what) === reason) return;
    this.#said.set(what, reason);
    const { namespace, name } = this.#spec.device;
    this.#components.log.warn({ device: `${namespace}/${name}`, doing: what, reason }, 'a device failed');
  }
}

function checkRange({ name, minimum, maximum }: PropertySpec['property'], value: Scalar): void {
  if (typeof value !== 'number') return;
  const under = minimum !== '' && value < Number(minimum);
  if (under || (maximum !== '' && value > Number(maximum))) {
    throw new MapperError(`${name} is from ${minimum} to ${maximum}, not ${value}`, { code: 'refused' });
  }
}
