"""A native app with grpcio and stubs of the stock tools, without code of Rookery.

    python stock_client.py HOST:PORT

It holds one session: each line of its input is a ClientFrame as JSON, each line of its output a ServerFrame.
The folder of the stubs is in PYTHONPATH.
"""

import sys
from collections.abc import Iterator
from importlib import import_module

import grpc
from google.protobuf import json_format

pb = import_module("rookery.v1.session_pb2")
stubs = import_module("rookery.v1.session_pb2_grpc")


def frames() -> Iterator[object]:
    for line in sys.stdin:
        yield json_format.Parse(line, pb.ClientFrame())


def main() -> None:
    with grpc.insecure_channel(sys.argv[1]) as channel:
        for frame in stubs.SessionServiceStub(channel).Connect(frames()):
            print(json_format.MessageToJson(frame, preserving_proto_field_name=True, indent=None), flush=True)


if __name__ == "__main__":
    main()
