"""A boiler to try things on: a real Modbus TCP server (pymodbus, Debian's python3-pymodbus 3.0) on 127.0.0.1.

The argument is its port. Input register 0 is the temperature outside in tenths of a degree, input register 1 that of
the water, which moves a degree a second toward the setpoint in holding register 2.
"""

import logging
import sys
import threading
import time

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartTcpServer

HOLDING, INPUT = 3, 4
OUTSIDE, WATER, SETPOINT = 0, 1, 2


class Registers(ModbusSequentialDataBlock):
    def setValues(self, address, values):
        if address <= SETPOINT < address + len(values) and values[SETPOINT - address] != self.values[SETPOINT]:
            print(f"setpoint: {values[SETPOINT - address]}", flush=True)
        super().setValues(address, values)


def heat(store):
    while True:
        time.sleep(1)
        water, wanted = store.getValues(INPUT, WATER)[0], store.getValues(HOLDING, SETPOINT)[0]
        # A negative setpoint, of 16 bits, is not for boilers.
        if water != wanted < 0x8000:
            water += 1 if water < wanted else -1
            store.setValues(INPUT, WATER, [water])
            print(f"water: {water}", flush=True)


# It calls a client that has gone an error.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
blocks = {name: ModbusSequentialDataBlock(0, [0] * 200) for name in ("di", "co", "ir")}
holding = Registers(0, [0, 0, 20] + [0] * 197)
boiler = ModbusSlaveContext(**blocks, hr=holding, zero_mode=True)
boiler.setValues(INPUT, OUTSIDE, [0xFF9C, 20])
threading.Thread(target=heat, args=(boiler,), daemon=True).start()
print(f"a boiler on 127.0.0.1:{sys.argv[1]}", flush=True)
StartTcpServer(context=ModbusServerContext(slaves=boiler, single=True), address=("127.0.0.1", int(sys.argv[1])))
