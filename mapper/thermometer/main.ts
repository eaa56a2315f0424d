#!/usr/bin/env node
/** The simulated thermometer as a program. */

import { startMapper } from '../hawser-mapper.ts';
import { ThermometerDriver } from './thermometer-driver.ts';

await startMapper(ThermometerDriver, { name: 'thermometer-mapper', protocol: 'simulated' });
