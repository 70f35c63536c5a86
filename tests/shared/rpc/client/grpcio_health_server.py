"""A process with grpcio's own health service, whose message names collide with ours within one process.

Prints its port, then reads lines such as `archive NOT_SERVING`.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]


def main() -> None:
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        print(port, flush=True)
        for line in sys.stdin:
            service, state = line.split()
            servicer.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(state))
        server.stop(None).wait()


if __name__ == "__main__":
    main()
