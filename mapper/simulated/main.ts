/** The simulated thermometer, on the SDK, as a program. */

import { startMapper } from '../sdk/run.ts';
import { ThermometerDriver } from './thermometer-driver.ts';

await startMapper(ThermometerDriver);
