/** Section `modules.eventBus` of edgecore.yaml. */

import { z } from 'zod';
import { isTopicFilter } from '#protocol/topics.ts';

const tlsSchema = z.strictObject({
  enable: z.boolean().default(false),
  tlsMqttCAFile: z.string().default('/etc/kubeedge/ca/rootCA.crt'),
  tlsMqttCertFile: z.string().default('/etc/kubeedge/certs/server.crt'),
  tlsMqttPrivateKeyFile: z.string().default('/etc/kubeedge/certs/server.key'),
});

const filters = z.array(z.string().refine(isTopicFilter, 'is not a topic filter')).max(256).optional();
const rules = { publish: filters, subscribe: filters };

/** Of our own: who may come to the embedded broker, and how. */
const internalBrokerSchema = z.strictObject({
  /** TLS instead of plain TCP; with `clientCAFile` only clients with a certificate of that authority come in. */
  tls: z
    .strictObject({
      certFile: z.string().min(1),
      privateKeyFile: z.string().min(1),
      clientCAFile: z.string().min(1).optional(),
    })
    .optional(),
  /** None: everybody may do everything. `publish` and `subscribe` are topic filters, left out: every topic. */
  users: z
    .array(z.strictObject({ name: z.string().min(1), password: z.string().min(1).optional(), ...rules }))
    .max(256)
    .default([]),
  /** What clients without a name may do when there are users; left out: they are refused. */
  anonymous: z.strictObject(rules).optional(),
});

export const eventBusConfigSchema = z.strictObject({
  enable: z.boolean().default(true),
  /** 0 the embedded broker, 1 both, 2 an external one. Left out: external when one answers, else embedded. */
  mqttMode: z.union([z.literal(0), z.literal(1), z.literal(2)]).optional(),
  mqttServerExternal: z.string().default('tcp://127.0.0.1:1883'),
  mqttServerInternal: z.string().default('tcp://127.0.0.1:1884'),
  mqttSubClientID: z.string().default(''),
  mqttPubClientID: z.string().default(''),
  mqttUsername: z.string().default(''),
  mqttPassword: z.string().default(''),
  /** Of what the embedded broker publishes for the edge; external ones get 1. */
  mqttQOS: z.union([z.literal(0), z.literal(1), z.literal(2)]).default(0),
  mqttRetain: z.boolean().default(false),
  /** Messages that wait in the embedded broker for a client that is away. */
  mqttSessionQueueSize: z.number().int().min(0).max(10_000).default(100),
  eventBusTLS: tlsSchema.prefault({}),
  internalBroker: internalBrokerSchema.prefault({}),
});

export type EventBusConfig = z.infer<typeof eventBusConfigSchema>;

export const eventBusUnused: readonly string[] = [];
