"""A mapper on gRPC's own core (Debian's python3-grpcio), which shares no code with Hawser: it registers, reports once,
and prints what it is told. Arguments: the edge's socket, and its own.

Messages are put together by hand from the numbers of KubeEdge's services.
"""

import sys
from concurrent import futures

import grpc

EDGE, OWN = sys.argv[1:3]


def part(number, *bodies):
    body = b"".join(each if isinstance(each, bytes) else each.encode() for each in bodies)
    assert len(body) < 128
    return bytes([number << 3 | 2, len(body)]) + body


class Mapper(grpc.GenericRpcHandler):
    def service(self, call):
        def handle(request, _context):
            print(call.method, request.hex(), flush=True)
            return b""

        return grpc.unary_unary_rpc_method_handler(handle)


server = grpc.server(futures.ThreadPoolExecutor(4), handlers=(Mapper(),))
server.add_insecure_port(f"unix:{OWN}")
server.start()
manager = "/v1beta1.DeviceManagerService"
with grpc.insecure_channel(f"unix:{EDGE}") as edge:
    mapper = part(2, part(1, "python"), part(2, "v1"), part(3, "v1"), part(4, "modbus"), part(5, OWN))
    register = edge.unary_unary(f"{manager}/MapperRegister")
    print("registered", register(b"\x08\x01" + mapper, timeout=30, wait_for_ready=True).hex(), flush=True)
    twin = part(1, part(1, "temperature"), part(3, part(1, "21")))
    report = part(1, "t1") + part(2, twin) + part(3, "default")
    edge.unary_unary(f"{manager}/ReportDeviceStatus")(report, timeout=30)
    edge.unary_unary(f"{manager}/ReportDeviceStates")(part(1, "t1") + part(2, "default") + part(3, "online"), timeout=30)
    try:
        edge.unary_unary(f"{manager}/ReportDeviceStates")(part(1, "nobody") + part(3, "online"), timeout=30)
    except grpc.RpcError as error:
        print("refused", error.code().name, flush=True)
server.wait_for_termination()
