import { expect, test } from 'vitest';
import { anySchema, unpackAny } from '#protocol/dmi/any-value.ts';
import { deviceSchema } from '#protocol/resources/device.ts';
import { deviceModelSchema } from '#protocol/resources/device-model.ts';
import { deviceMessage, modelMessage } from './device-message.ts';

const model = deviceModelSchema.parse({
  metadata: { name: 'thermo', namespace: 'default' },
  spec: {
    protocol: 'modbus',
    protocolConfigData: { timeoutMs: 500, port: 1 },
    properties: [
      {
        name: 'setpoint',
        type: 'INT',
        visitors: { protocolName: 'modbus', configData: { limit: 1, offset: 1 } },
      },
    ],
  },
});
const device = (spec: object, more: object = {}) =>
  deviceSchema.parse({
    metadata: { name: 't1', namespace: 'default' },
    spec: { deviceModelRef: { name: 'thermo' }, ...spec },
    ...more,
  });

/** With every Any as what it holds. */
function open(value: unknown): unknown {
  const any = anySchema.safeParse(value);
  if (any.success) return unpackAny(any.data);
  if (Array.isArray(value)) return value.map(open);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, open(field)]));
}

test('takes what the model says as defaults, and the device’s own word over it', () => {
  const spec = {
    protocol: { protocolName: 'modbus', configData: { ip: '10.0.0.9', port: 502, secure: false } },
    stateReport: { reportToCloud: true, reportCycle: 9000 },
    methods: [{ name: 'adjust', propertyNames: ['setpoint'] }],
    properties: [
      {
        name: 'setpoint',
        desired: { value: '21', metadata: { type: 'int' } },
        collectCycle: 5000,
        reportCycle: 2000,
        reportToCloud: true,
        visitors: { protocolName: 'ignored', configData: { offset: 2 } },
        pushMethod: {
          http: { hostName: 'http://h', port: 80, requestPath: '/p', timeout: 3 },
          mqtt: { address: 'tcp://h:1883', topic: 't', qos: 1, retained: true },
          dbMethod: {
            TDEngine: { TDEngineClientConfig: { addr: 'a', dbName: 'd' } },
            redis: { redisClientConfig: { addr: 'r', db: 4 } },
          },
          anomalyDetection: { limit: 3 },
        },
      },
      { name: 'plain' },
    ],
  };
  const status = { reportToCloud: false, reportCycle: 1 };
  expect(open(deviceMessage(device(spec, { status }), model))).toEqual({
    name: 't1',
    namespace: 'default',
    spec: {
      deviceModelReference: 'thermo',
      protocol: {
        protocolName: 'modbus',
        configData: { data: { ip: '10.0.0.9', port: 502, secure: false, timeoutMs: 500 } },
      },
      properties: [
        {
          name: 'setpoint',
          desired: { value: '21', metadata: { type: 'int' } },
          visitors: { protocolName: 'modbus', configData: { data: { limit: 1, offset: 2 } } },
          reportCycle: 2000,
          collectCycle: 5000,
          reportToCloud: true,
          pushMethod: {
            http: { hostname: 'http://h', port: 80, requestpath: '/p', timeout: 3 },
            mqtt: { address: 'tcp://h:1883', topic: 't', qos: 1, retained: true },
            dbMethod: {
              redis: { redisClientConfig: { addr: 'r', db: 4 } },
              tdengine: { tdEngineClientConfig: { addr: 'a', dbname: 'd' } },
            },
            anomalyDetection: { data: { limit: 3 } },
          },
        },
        { name: 'plain', reportCycle: 0, collectCycle: 0, reportToCloud: false },
      ],
      methods: [{ name: 'adjust', description: '', propertyNames: ['setpoint'] }],
    },
    status: { reportToCloud: true, reportCycle: 9000 },
  });
  const old = deviceMessage(device({}, { status: { reportToCloud: true, reportCycle: 7 } }), model);
  expect(old).toMatchObject({ status: { reportToCloud: true, reportCycle: 7 } });
});

test.each([
  ['a list', { a: [1] }],
  ['an object', { a: { b: 1 } }],
  ['null', { a: null }],
])('refuses the whole device for %s in its configData', (_, configData) => {
  const refused = deviceMessage(device({ protocol: { protocolName: 'modbus', configData } }), model);
  expect(refused).toContain('spec.protocol.configData.a');
});

test('waits for a model', () => {
  expect(deviceMessage(device({}), undefined)).toContain('"thermo" is not here');
  expect(modelMessage(model)).toMatchObject({
    name: 'thermo',
    spec: { properties: [{ name: 'setpoint', type: 'INT' }] },
  });
});
