/** A thermometer that is not there: its temperature moves a degree at a time toward what was written last. */

import type { Driver, MapperProperty, Scalar } from '../hawser-mapper.ts';

export class ThermometerDriver implements Driver {
  #degrees = 20;
  #setpoint = 20;

  async read({ name }: MapperProperty): Promise<Scalar> {
    if (name === 'setpoint') return this.#setpoint;
    this.#degrees += Math.sign(this.#setpoint - this.#degrees);
    return this.#degrees;
  }

  async write(_property: MapperProperty, value: Scalar): Promise<void> {
    this.#setpoint = Math.round(Number(value));
  }
}
