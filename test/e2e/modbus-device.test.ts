import { modbusDeviceSuite } from './modbus-device.suite.ts';

modbusDeviceSuite('the embedded API', undefined);
