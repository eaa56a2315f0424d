"""A real Modbus TCP server (pymodbus, Debian's python3-pymodbus 3.0) on 127.0.0.1, its port is the argument."""

import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartTcpServer

blocks = {name: ModbusSequentialDataBlock(0, [0] * 200) for name in ("di", "co", "hr", "ir")}
store = ModbusSlaveContext(**blocks, zero_mode=True)
store.setValues(4, 0, [0xFF9C])
StartTcpServer(context=ModbusServerContext(slaves=store, single=True), address=("127.0.0.1", int(sys.argv[1])))
