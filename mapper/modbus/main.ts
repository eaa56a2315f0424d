#!/usr/bin/env node
/** The Modbus mapper as a program. */

import { startMapper } from '../hawser-mapper.ts';
import { ModbusDriver } from './modbus-driver.ts';

await startMapper(ModbusDriver, { name: 'modbus-mapper', protocol: 'modbus' });
