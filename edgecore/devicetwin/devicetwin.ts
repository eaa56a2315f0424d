/**
 * DeviceTwin: what devices are and should be, at the edge. Decides (twin, device-state, membership, device-spec),
 * stores, and only then answers over MQTT and reports to the cloud.
 *
 * An event is decided at once, on memory, and its rows join the next group commit; answers go out as commits
 * end, so a device's events are stored and answered in order though many wait for the disk at the same time.
 * Therefore every envelope is its own key on the bus: nothing may be awaited before the decision.
 */

import { randomUUID } from 'node:crypto';
import type { Bus, InboxOptions } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { BusError } from '#beehive/errors.ts';
import type { Log } from '#beehive/log.ts';
import type { Metrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import type { Random } from '#beehive/random.ts';
import { CancelledError, describeError, ProtocolError } from '#protocol/errors.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import type { LocalTopic } from '#protocol/topics.ts';
import type { Member } from '#protocol/twin.ts';
import type { Store } from '../store/database.ts';
import { updateAttributes } from './attributes.ts';
import { syncTwin } from './cloud-twin.ts';
import { updateState } from './device-state.ts';
import { Devices } from './devices.ts';
import { createDmiMetrics, Dmi, type DmiMetrics } from './dmi/dmi.ts';
import type { LeaseOptions } from './dmi/mapper-link.ts';
import type { TwinDoor, Verdict } from './dmi/requests.ts';
import { addMember, listMembers, removeMember } from './membership.ts';
import { openMessage, type TwinMessage } from './message.ts';
import type { Moment, Outcome, Reply } from './outcome.ts';
import { Specs } from './specs.ts';
import { TwinSync } from './sync.ts';
import { getTwin, updateTwin } from './twin.ts';

export interface DeviceTwinOptions {
  readonly nodeName: string;
  /** Where mappers that speak gRPC find the edge; without it, nowhere. */
  readonly dmiSockPath?: string;
  /** How soon a mapper that does not answer is taken to be gone. */
  readonly lease?: LeaseOptions;
}

export interface DeviceTwinComponents {
  readonly bus: Bus;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

export const deviceTwinInbox: InboxOptions = {
  capacity: 2_048,
  lanesMax: 256,
  keyOf: (envelope) => envelope.header.msg_id,
};

/** A KubeEdge cloud never answers this; ours does. */
const membershipTimeoutMs = 30_000;

export function createDeviceTwin(options: DeviceTwinOptions, components: DeviceTwinComponents): Module {
  const log = components.log.child({ module: source.twin });
  const messages = components.metrics.counter(
    'hawser_twin_messages_total',
    'Messages of clients, MetaManager and cloud, by what became of them',
    ['outcome'],
  );
  const unpublished = components.metrics.counter(
    'hawser_twin_unpublished_total',
    'Answers and news that EventBus had no room for',
  );
  const dmiMetrics = createDmiMetrics(components.metrics);
  const link: Link = { connected: false };
  return {
    name: source.twin,
    async run(signal, ready) {
      const counters: Counters = {
        message: (outcome) => messages.inc({ outcome }),
        unpublished: () => unpublished.inc(),
        dmi: dmiMetrics,
      };
      const work = new Work(options, { ...components, log }, counters, link, signal);
      work.start();
      ready();
      await components.bus.serve(source.twin, (envelope) => work.handle(envelope), signal);
      await work.stop();
    },
  };
}

interface Counters {
  readonly message: (outcome: 'changed' | 'answered' | 'ignored' | 'malformed' | 'not-stored') => void;
  readonly unpublished: () => void;
  readonly dmi: DmiMetrics;
}

/** Whether the cloud is there: said once per change, and so kept over a restart of the module. */
interface Link {
  connected: boolean;
}

/** One run of the module. */
class Work {
  readonly #node: string;
  readonly #components: DeviceTwinComponents;
  readonly #counters: Counters;
  readonly #link: Link;
  readonly #signal: AbortSignal;
  readonly #devices: Devices;
  readonly #sync: TwinSync;
  readonly #specs: Specs;
  readonly #dmi: Dmi | undefined;
  readonly #beside = new Set<Promise<void>>();

  constructor(
    options: DeviceTwinOptions,
    components: DeviceTwinComponents,
    counters: Counters,
    link: Link,
    signal: AbortSignal,
  ) {
    this.#node = options.nodeName;
    this.#components = components;
    this.#counters = counters;
    this.#link = link;
    this.#signal = signal;
    this.#devices = new Devices(components.store, components.log);
    this.#sync = new TwinSync({
      ...components,
      deviceOf: (id) => this.#devices.get(id),
      moment: () => this.#moment(),
    });
    this.#specs = new Specs(components.bus, options.nodeName);
    this.#sync.mark(this.#devices.storedMarks);
    if (options.dmiSockPath !== undefined) {
      this.#dmi = new Dmi(
        { sockPath: options.dmiSockPath, lease: options.lease },
        { ...components, metrics: counters.dmi, specs: this.#specs, twin: this.#door() },
      );
    }
  }

  start(): void {
    if (this.#link.connected) this.#sync.connected();
    if (this.#dmi !== undefined) this.#run(this.#dmi.run(this.#signal));
    this.#run(this.#loadSpecs());
  }

  async stop(): Promise<void> {
    await this.#sync.stop();
    await Promise.all(this.#beside);
  }

  async handle(envelope: Envelope): Promise<void> {
    let message: TwinMessage;
    try {
      message = openMessage(envelope);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#counters.message('malformed');
      this.#components.log.warn({ msgId: envelope.header.msg_id, reason: error.message }, 'message refused');
      return;
    }
    switch (message.kind) {
      case 'client':
        return this.#client(message.topic, message.payload);
      case 'connection':
        this.#connection(message.connected);
        return;
      case 'membership':
        return this.#membership(message);
      case 'members':
        return this.#members(message.members);
      case 'cloud-twin': {
        const known = this.#devices.get(message.id);
        await this.#settle(message.id, syncTwin(known, message.id, message.update, this.#moment()));
        return;
      }
      case 'attributes': {
        const { id, attributes } = message;
        await this.#settle(id, updateAttributes(this.#devices.get(id), id, attributes, this.#moment()));
        return;
      }
      case 'device': {
        const known = this.#devices.get(message.id);
        const outcome = this.#specs.put(known, message.id, message.object, this.#moment());
        this.#dmi?.changed();
        await this.#settle(message.id, outcome);
        return;
      }
      case 'device-gone':
        return this.#deviceGone(message.id, message.uid);
      case 'model': {
        const outcomes = this.#specs.putModel(
          message.key,
          message.model,
          (id) => this.#devices.get(id),
          this.#moment(),
        );
        this.#dmi?.changed();
        await Promise.all(outcomes.map(({ id, outcome }) => this.#settle(id, outcome)));
        return;
      }
      case 'other':
        this.#counters.message('ignored');
        this.#components.log.debug({ reason: message.reason }, 'message ignored');
    }
  }

  async #client(topic: LocalTopic, payload: string): Promise<void> {
    await this.#settle(...this.#decide(topic, payload));
  }

  #decide(topic: LocalTopic, payload: string): [id: string, outcome: Outcome] {
    const moment = this.#moment();
    if (topic.kind === 'membership/get') {
      const devices = this.#devices.all();
      return ['', listMembers(devices, payload, this.#node, moment)];
    }
    const id = topic.device;
    const device = this.#devices.get(id);
    if (topic.kind === 'twin/get') return [id, getTwin(device, id, payload, moment)];
    if (topic.kind === 'state/update') return [id, updateState(device, id, payload, moment)];
    return [id, updateTwin(device, id, payload, moment)];
  }

  /** What mappers say over DMI is what they could say over MQTT, and is told to MQTT clients as that is. */
  #door(): TwinDoor {
    const take = async (topic: LocalTopic, body: object): Promise<Verdict> => {
      const { newEventId, nowMs } = this.#moment();
      const event = { event_id: newEventId(), timestamp: nowMs, ...body };
      const [id, outcome] = this.#decide(topic, JSON.stringify(event));
      const stored = await this.#settle(id, outcome);
      if (outcome.rejected !== undefined) return outcome.rejected;
      if (!this.#devices.get(id)) return { code: 404, reason: `device ${id} is not here` };
      if (outcome.ignored !== undefined) return { code: 400, reason: outcome.ignored };
      return stored ? { code: 200 } : { code: 500, reason: 'the edge could not store it' };
    };
    return {
      update: (device, twin) => take({ kind: 'twin/update', device }, { twin }),
      state: (device, state) => take({ kind: 'state/update', device }, { state }),
      stateOf: (device) => this.#devices.get(device)?.state,
      wish: (device, property) => {
        const known = this.#devices.get(device)?.twin.get(property);
        return { bySpec: known?.appliedDesired !== undefined, expected: known?.expected?.value };
      },
    };
  }

  async #membership({ membership }: TwinMessage & { kind: 'membership' }): Promise<void> {
    const added = (membership.added_devices ?? []).map((member) =>
      this.#settle(member.id, addMember(this.#devices.get(member.id), member, this.#node, this.#moment())),
    );
    const removed = (membership.removed_devices ?? []).map(({ id }) => this.#remove(id));
    await Promise.all([...added, ...removed]);
  }

  /**
   * All devices of the node. Which of them are gone it says only of those that no Device object stands for: those
   * go with a deletion of their own. An empty list says nothing.
   */
  async #members(members: readonly Member[]): Promise<void> {
    const named = new Set(members.map(({ id }) => id));
    const added = members.map((member) =>
      this.#settle(member.id, addMember(this.#devices.get(member.id), member, this.#node, this.#moment())),
    );
    const strays = [...this.#devices.all()].filter(({ id, uid }) => uid === undefined && !named.has(id));
    const removed = members.length === 0 ? [] : strays.map(({ id }) => this.#remove(id));
    await Promise.all([...added, ...removed]);
  }

  /** A deletion of the device before one of the same name says nothing of the new one. */
  async #deviceGone(id: string, uid: string | undefined): Promise<void> {
    const known = this.#devices.get(id);
    if (uid !== undefined && known?.uid !== undefined && known.uid !== uid) return;
    this.#specs.forget(id);
    this.#dmi?.changed();
    await this.#remove(id);
  }

  #remove(id: string): Promise<boolean> {
    return this.#settle(id, removeMember(this.#devices.get(id), id, this.#node, this.#moment()));
  }

  #connection(connected: boolean): void {
    this.#link.connected = connected;
    if (connected) {
      this.#sync.connected();
      this.#run(this.#askMembership());
    } else {
      this.#sync.disconnected();
    }
  }

  /** Stores the change, if there is one, then says what is to be said. False when it could not be stored. */
  async #settle(id: string, outcome: Outcome): Promise<boolean> {
    const { change, replies, refused, notes } = outcome;
    for (const note of notes) this.#components.log.warn({ reason: note }, 'not taken');
    if (outcome.ignored !== undefined) {
      this.#components.log.debug({ reason: outcome.ignored }, 'message ignored');
    }
    if (change === undefined) {
      // An answer may show what is decided and not yet stored: it goes out when that is.
      await this.#devices.stored(id);
      this.#counters.message(replies.length > 0 ? 'answered' : 'ignored');
      this.#publish(replies);
      return true;
    }
    const saved = await this.#devices.save(change);
    if (saved === undefined) {
      this.#counters.message('not-stored');
      this.#publish(refused);
      return false;
    }
    this.#counters.message('changed');
    if (change.device === undefined) this.#sync.forget(id);
    this.#publish(replies);
    this.#sync.mark(saved);
    return true;
  }

  #publish(replies: readonly Reply[]): void {
    const { bus, clock } = this.#components;
    for (const { topic, body } of replies) {
      const envelope = newEnvelope(
        { source: source.twin, group: group.bus, operation: operation.publish, resource: topic },
        JSON.stringify(body),
        { timestampMs: clock.now() },
      );
      try {
        if (bus.send('eventbus', envelope) === 'full') this.#counters.unpublished();
      } catch (error) {
        // EventBus is switched off: there is nobody to hear.
        if (!(error instanceof BusError && error.code === 'unknown-module')) throw error;
      }
    }
  }

  /** What MetaManager holds, for what changed while this module did not run, and for the types of models. */
  async #loadSpecs(): Promise<void> {
    const stored = await this.#specs.load(this.#signal);
    if (stored === undefined) {
      this.#components.log.warn(
        {},
        'MetaManager did not say which devices there are; going on with those known',
      );
      this.#dmi?.loaded(false);
      return;
    }
    const outcomes = stored.devices.map(({ id, object }) =>
      this.#settle(id, this.#specs.put(this.#devices.get(id), id, object, this.#moment())),
    );
    this.#dmi?.loaded(true);
    // MetaManager forgets an object only when the cloud said it is gone, so that word was missed here.
    const missed = [...this.#devices.all()].filter(({ id, uid }) => uid !== undefined && !stored.ids.has(id));
    await Promise.all([...outcomes, ...missed.map(({ id }) => this.#remove(id))]);
  }

  async #askMembership(): Promise<void> {
    const { bus, clock, log } = this.#components;
    const { newEventId, nowMs } = this.#moment();
    const content = JSON.stringify({
      event_type: 'group_membership_event',
      event_id: newEventId(),
      group_id: this.#node,
      operation: 'detail',
      timestamp: nowMs,
    });
    const question = newEnvelope(
      { source: source.twin, group: group.resource, operation: operation.get, resource: 'membership/detail' },
      content,
      { timestampMs: clock.now() },
    );
    const options = { timeoutMs: membershipTimeoutMs, signal: this.#signal };
    try {
      await bus.request('edgehub', question, options);
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      log.debug({ reason: describeError(error) }, 'the cloud did not answer which devices there are');
    }
  }

  #run(work: Promise<void>): void {
    const done = work
      .catch((error: unknown) => {
        if (error instanceof CancelledError) return;
        this.#components.log.error({ err: error }, 'work beside the inbox failed');
      })
      .then(() => {
        this.#beside.delete(done);
      });
    this.#beside.add(done);
  }

  #moment(): Moment {
    return { nowMs: this.#components.clock.now(), newEventId: randomUUID };
  }
}
