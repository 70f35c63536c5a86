"""gRPC's standard reflection, in both versions: the services of a server and their proto files.

Only the files that the services need are returned, not every file that is loaded into the process.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import Default as default_pool

from shared.rpc.framing import encode_varint
from shared.rpc.server.methods import AnyServerStream, stream_handler
from shared.rpc.standard import reflection_pb2, reflection_v1alpha_pb2
from shared.rpc.standard.reflection_grpc import ServerReflectionServicer
from shared.rpc.standard.reflection_v1alpha_grpc import ServerReflectionServicer as ServerReflectionServicerV1Alpha
from shared.rpc.status import RpcError, Status

MAX_REQUEST_BYTES = 1_024
"""Most bytes of a request, which its response repeats."""

_FILES_TAG = b"\x22"
"""Field 4 of a response in both versions, `file_descriptor_response`, with a length."""


class ProtoFiles:
    """The proto files of some services and of all their imports, indexed by their declarations."""

    def __init__(self, services: Iterable[str]) -> None:
        """`services` are full names. Raises KeyError for one whose proto is not loaded."""
        self.services = sorted(services)
        self.by_name: dict[str, FileDescriptor] = {}
        self.by_symbol: dict[str, FileDescriptor] = {}
        """By the full name of each message, field, one-of, enum, enum value, extension, service and method."""
        self.by_extension: dict[tuple[str, int], FileDescriptor] = {}
        """By the full name of the extended message, and the number."""
        self.imports: dict[str, Sequence[FileDescriptor]] = {}
        """All files that a file needs, without itself, by its name."""
        self.encoded: dict[str, bytes] = {}
        """A FileDescriptorResponse of one file, serialised, by its name. Responses share these bytes: one of 30 KB
        answers a request of 30 bytes, and waits as long as its client takes none of it."""
        for service in self.services:
            self._add(default_pool().FindServiceByName(service).file)

    def _add(self, file: FileDescriptor) -> None:
        if file.name in self.by_name:
            return
        self.by_name[file.name] = file
        self.imports[file.name] = _imports_of(file)
        response = reflection_pb2.FileDescriptorResponse(file_descriptor_proto=[file.serialized_pb])
        self.encoded[file.name] = response.SerializeToString()
        self.by_symbol |= dict.fromkeys(_symbols_of(file), file)
        self.by_extension |= dict.fromkeys(map(_extension_key, _extensions_of(file)), file)
        for imported in file.dependencies:
            self._add(imported)

    def extension_numbers(self, message: str) -> list[int]:
        """Return the numbers of all extensions of a message, in order."""
        return sorted(number for extended, number in self.by_extension if extended == message)


class _Reflection:
    """The common part of the two versions, whose messages differ only in their package."""

    response_type: ClassVar[type[Any]]

    def __init__(self, files: ProtoFiles) -> None:
        super().__init__()
        self._files = files

    @stream_handler
    async def ServerReflectionInfo(self, stream: AnyServerStream) -> None:
        """Respond to each request, in order. A file is sent once as an import of others."""
        sent: set[str] = set()
        while (request := await stream.receive()) is not None:
            if request.ByteSize() > MAX_REQUEST_BYTES:
                raise RpcError(Status.INVALID_ARGUMENT, f"a request may have {MAX_REQUEST_BYTES} bytes at most")
            response = self.response_type(valid_host=request.host, original_request=request)
            content = self._content(request)
            if isinstance(content, FileDescriptor):
                await stream.send_shared([response.SerializeToString(), *self._files_field(content, sent)])
            else:
                response.MergeFrom(self.response_type(**content))
                await stream.send(response)

    def _files_field(self, file: FileDescriptor, sent: set[str]) -> list[bytes]:
        """Return the serialised field of a response with this file and its imports that were not sent yet."""
        files = [file, *(each for each in self._files.imports[file.name] if each.name not in sent)]
        sent |= {each.name for each in files}
        encoded = [self._files.encoded[each.name] for each in files]
        return [_FILES_TAG + encode_varint(sum(map(len, encoded))), *encoded]

    def _content(self, request: Any) -> FileDescriptor | dict[str, Any]:
        """Return the file that this request asks for, or another field of the response with its value."""
        kind = request.WhichOneof("message_request")
        value: Any = getattr(request, kind) if kind else None
        match kind:
            case "list_services":
                return {"list_services_response": {"service": [{"name": name} for name in self._files.services]}}
            case "file_by_filename":
                return self._files.by_name.get(value) or _NO_FILE
            case "file_containing_symbol":
                return self._files.by_symbol.get(value) or _NO_FILE
            case "file_containing_extension":
                key = value.containing_type, value.extension_number
                return self._files.by_extension.get(key) or _NO_FILE
            case "all_extension_numbers_of_type":
                return self._numbers_response(value)
            case _:
                return _error(Status.INVALID_ARGUMENT, "the request has no known field")

    def _numbers_response(self, message: str) -> dict[str, Any]:
        file = self._files.by_symbol.get(message)
        if file is None or message not in {each.full_name for each in _messages_of(file)}:
            return _error(Status.NOT_FOUND, "there is no such message")
        numbers = self._files.extension_numbers(message)
        return {"all_extension_numbers_response": {"base_type_name": message, "extension_number": numbers}}


class ReflectionService(_Reflection, ServerReflectionServicer):
    """`grpc.reflection.v1`"""

    response_type = reflection_pb2.ServerReflectionResponse


class ReflectionServiceV1Alpha(_Reflection, ServerReflectionServicerV1Alpha):
    """`grpc.reflection.v1alpha`"""

    response_type = reflection_v1alpha_pb2.ServerReflectionResponse


def _error(status: Status, message: str) -> dict[str, Any]:
    return {"error_response": {"error_code": status, "error_message": message}}


_NO_FILE = _error(Status.NOT_FOUND, "no proto file of the services declares it")


def _imports_of(file: FileDescriptor) -> list[FileDescriptor]:
    """Return all files that a file needs, each once, without the file itself."""
    found: dict[str, FileDescriptor] = {}
    waiting = list(file.dependencies)
    while waiting:
        imported = waiting.pop()
        if imported.name not in found:
            found[imported.name] = imported
            waiting += imported.dependencies
    return list(found.values())


def _messages_of(file: FileDescriptor) -> list[Descriptor]:
    """Return the messages of a file, nested ones included."""
    messages = list(file.message_types_by_name.values())
    for message in messages:  # the list grows during the iteration
        messages += message.nested_types
    return messages


def _extensions_of(file: FileDescriptor) -> Iterator[FieldDescriptor]:
    yield from file.extensions_by_name.values()
    for message in _messages_of(file):
        yield from message.extensions


def _extension_key(extension: FieldDescriptor) -> tuple[str, int]:
    """Return the full name of the extended message, and the number."""
    assert extension.containing_type is not None  # noqa: S101 - an extension has one
    return extension.containing_type.full_name, extension.number


def _symbols_of(file: FileDescriptor) -> Iterator[str]:
    """Yield the full names of all declarations of a file."""
    for enum in file.enum_types_by_name.values():
        yield from _symbols_of_enum(enum)
    for message in _messages_of(file):
        yield message.full_name
        yield from (f"{message.full_name}.{field.name}" for field in message.fields)
        yield from (f"{message.full_name}.{oneof.name}" for oneof in message.oneofs)
        for enum in message.enum_types:
            yield from _symbols_of_enum(enum)
    for service in file.services_by_name.values():
        yield from (service.full_name, *(method.full_name for method in service.methods))
    yield from (extension.full_name for extension in _extensions_of(file))


def _symbols_of_enum(enum: EnumDescriptor) -> Iterator[str]:
    """Yield an enum's name and the names of its values, which are its siblings."""
    scope = enum.full_name.removesuffix(enum.name)
    yield enum.full_name
    yield from (scope + value.name for value in enum.values)
