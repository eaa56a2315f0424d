/**
 * dmi.proto against the numbers and types of KubeEdge v1.23's services, written down here on their own, and messages
 * against bytes put together by hand from them: what a mapper that was built with KubeEdge's file sends and reads.
 */

import { expect, test } from 'vitest';
import { dmiMessages as root } from '#test/dmi-messages.ts';
import { packAny } from './any-value.ts';

/** `name=number type`; without a type it is string, `*` repeats. */
const messages: Readonly<Record<string, string>> = {
  MapperInfo: 'name=1, version=2, api_version=3, protocol=4, address=5 bytes, state=6',
  MapperRegisterRequest: 'withData=1 bool, mapper=2 MapperInfo',
  MapperRegisterResponse: 'modelList=1 DeviceModel*, deviceList=2 Device*',
  ReportDeviceStatusRequest: 'deviceName=1, reportedDevice=2 DeviceStatus, deviceNamespace=3',
  ReportDeviceStatesRequest: 'deviceName=1, deviceNamespace=2, state=3',
  RegisterDeviceRequest: 'device=1 Device',
  RegisterDeviceResponse: 'deviceName=1, deviceNamespace=2',
  UpdateDeviceRequest: 'device=1 Device',
  RemoveDeviceRequest: 'deviceName=1, deviceNamespace=2',
  CreateDeviceModelRequest: 'model=1 DeviceModel',
  CreateDeviceModelResponse: 'deviceModelName=1, deviceModelNamespace=2',
  UpdateDeviceModelRequest: 'model=1 DeviceModel',
  RemoveDeviceModelRequest: 'modelName=1, modelNamespace=2',
  GetDeviceRequest: 'deviceName=1, deviceNamespace=2',
  GetDeviceResponse: 'device=1 Device',
  Device: 'name=1, spec=2 DeviceSpec, status=3 DeviceStatus, namespace=4',
  DeviceSpec:
    'deviceModelReference=1, protocol=2 ProtocolConfig, properties=3 DeviceProperty*, methods=4 DeviceMethod*',
  DeviceMethod: 'name=1, description=2, propertyNames=3 string*',
  DeviceProperty:
    'name=1, desired=2 TwinProperty, visitors=3 VisitorConfig, reportCycle=4 int64, collectCycle=5 int64, reportToCloud=6 bool, pushMethod=7 PushMethod',
  ProtocolConfig: 'protocolName=1, configData=2 CustomizedValue',
  VisitorConfig: 'protocolName=1, configData=2 CustomizedValue',
  PushMethod:
    'http=1 PushMethodHTTP, mqtt=2 PushMethodMQTT, dbMethod=3 DBMethod, otel=4 PushMethodOTEL, anomalyDetection=5 AnomalyDetection',
  PushMethodHTTP: 'hostname=1, port=2 int64, requestpath=3, timeout=4 int64',
  PushMethodMQTT: 'address=1, topic=2, qos=3 int32, retained=4 bool',
  PushMethodOTEL: 'endpointURL=1',
  DBMethod:
    'influxdb2=1 DBMethodInfluxdb2, redis=2 DBMethodRedis, tdengine=3 DBMethodTDEngine, mysql=4 DBMethodMySQL',
  DeviceModel: 'name=1, spec=2 DeviceModelSpec, namespace=3',
  DeviceModelSpec: 'properties=1 ModelProperty*, commands=2 DeviceCommand*',
  ModelProperty: 'name=1, description=2, type=3, accessMode=4, minimum=5, maximum=6, unit=7',
  DeviceCommand: 'name=1, url=2, method=3, status_code=4 string*, parameters=5 string*, response=6 bytes',
  DeviceStatus: 'twins=1 Twin*, reportToCloud=2 bool, reportCycle=3 int64',
  Twin: 'propertyName=1, observedDesired=2 TwinProperty, reported=3 TwinProperty',
};

test.each(Object.entries(messages))('%s', (name, wanted) => {
  const fields = root.lookupType(`v1beta1.${name}`).fieldsArray;
  const found = fields.map(({ name: field, id, type, repeated }) => {
    const kind = `${type}${repeated ? '*' : ''}`;
    return `${field}=${id}${kind === 'string' ? '' : ` ${kind}`}`;
  });
  expect(found.join(', ')).toBe(wanted);
});

test('services and their methods', () => {
  const methods = (service: string) => Object.keys(root.lookupService(`v1beta1.${service}`).methods);
  expect(methods('DeviceManagerService')).toEqual([
    'MapperRegister',
    'ReportDeviceStatus',
    'ReportDeviceStates',
  ]);
  expect(methods('DeviceMapperService').sort()).toEqual([
    'CreateDeviceModel',
    'GetDevice',
    'RegisterDevice',
    'RemoveDevice',
    'RemoveDeviceModel',
    'UpdateDevice',
    'UpdateDeviceModel',
  ]);
});

/** A field that has a length: texts, bytes, messages. */
const part = (id: number, ...bytes: (Buffer | string)[]): Buffer => {
  const body = Buffer.concat(bytes.map((each) => Buffer.from(each)));
  const length = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >> 7];
  return Buffer.concat([Buffer.from([(id << 3) | 2, ...length]), body]);
};
const number = (id: number, value: number) => Buffer.from([id << 3, value]);

test('a registration is these bytes', () => {
  const bytes = Buffer.concat([number(1, 1), part(2, part(1, 'm'), part(4, 'modbus'), part(5, '/m.sock'))]);
  const mapper = { name: 'm', protocol: 'modbus', address: Buffer.from('/m.sock') };
  expect(encode('MapperRegisterRequest', { withData: true, mapper })).toBe(bytes.toString('hex'));
});

test('a report is these bytes', () => {
  const twin = part(1, part(1, 'water'), part(3, part(1, '21'), part(2, part(1, 'type'), part(2, 'int'))));
  const bytes = Buffer.concat([part(1, 'boiler'), part(2, twin), part(3, 'default')]);
  const reported = { value: '21', metadata: { type: 'int' } };
  const reportedDevice = { twins: [{ propertyName: 'water', reported }] };
  const report = { deviceName: 'boiler', deviceNamespace: 'default', reportedDevice };
  expect(encode('ReportDeviceStatusRequest', report)).toBe(bytes.toString('hex'));
});

test('a device is these bytes, its configData in wrappers', () => {
  const any = (type: string, value: Buffer) =>
    Buffer.concat([part(1, `type.googleapis.com/google.protobuf.${type}`), part(2, value)]);
  const config = part(1, part(1, 'ip'), part(2, any('StringValue', part(1, '10.0.0.9'))));
  const port = part(1, part(1, 'port'), part(2, any('FloatValue', Buffer.from('0d0000fb43', 'hex'))));
  const protocol = part(2, part(1, 'modbus'), part(2, config, port));
  const property = part(3, part(1, 'water'), number(5, 100), number(6, 1));
  const bytes = part(1, part(1, 'boiler'), part(2, part(1, 'm'), protocol, property), part(4, 'default'));
  const data = { ip: packAny('10.0.0.9'), port: packAny(502) };
  const spec = {
    deviceModelReference: 'm',
    protocol: { protocolName: 'modbus', configData: { data } },
    properties: [{ name: 'water', collectCycle: 100, reportToCloud: true }],
  };
  const device = { name: 'boiler', namespace: 'default', spec };
  expect(encode('RegisterDeviceRequest', { device })).toBe(bytes.toString('hex'));
});

function encode(name: string, value: object): string {
  const type = root.lookupType(`v1beta1.${name}`);
  return Buffer.from(type.encode(type.fromObject(value)).finish()).toString('hex');
}
