"""`protos/interop.proto` in Python, generated when this is first imported: `messages`, and `services` for shared.rpc;
`stock_services` has them as grpcio's own tools make them."""

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_tools import protoc

import rookery.purerpc_compat  # noqa: F401 - purerpc can't be imported without it

PROTOS = Path(__file__).with_name("protos")


def _load() -> tuple[ModuleType, ModuleType]:
    """Generate and import the messages and grpcio's services; their files are then deleted."""
    with tempfile.TemporaryDirectory() as folder:
        options = [f"-I{PROTOS}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
        if protoc.main(["protoc", *options, "interop.proto"]) != 0:
            raise RuntimeError("protoc refused the proto")
        sys.path.insert(0, folder)
        try:
            return import_module("interop_pb2"), import_module("interop_pb2_grpc")
        finally:
            sys.path.remove(folder)


def _purerpc_services(messages: ModuleType) -> ModuleType:
    """Generate the services with purerpc's plugin."""
    from purerpc.protoc_plugin.plugin import generate_single_proto

    file = FileDescriptorProto()
    messages.DESCRIPTOR.CopyToProto(file)
    homes = {f".{file.package}.{message.name}": file.name for message in file.message_type}
    module = ModuleType("interop_grpc")
    exec(generate_single_proto(file, homes), module.__dict__)
    return module


messages, stock_services = _load()
services = _purerpc_services(messages)
