/** A thermometer that is not there: its temperature moves a degree at a time toward the setpoint. */

import type { Scalar } from '#protocol/dmi/any-value.ts';
import type { Driver, MapperProperty } from '../sdk/driver.ts';

export class ThermometerDriver implements Driver {
  #degrees = 20;
  #setpoint = 20;

  async read({ name }: MapperProperty): Promise<Scalar> {
    if (name !== 'temperature') return this.#setpoint;
    this.#degrees += Math.sign(this.#setpoint - this.#degrees);
    return this.#degrees;
  }

  async write(_property: MapperProperty, value: Scalar): Promise<void> {
    this.#setpoint = Math.round(Number(value));
  }
}
