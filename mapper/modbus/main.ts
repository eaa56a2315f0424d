/** The Modbus mapper as a program. */

import { startMapper } from '../sdk/run.ts';
import { ModbusDriver } from './modbus-driver.ts';

await startMapper(ModbusDriver);
