"""Reflection returns the services and their proto files, the same in both versions."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import Default as default_pool

import rookery.v1.backplane_pb2
from shared.rpc import RpcError, Status, open_stream
from shared.rpc.server.reflection import ProtoFiles, ReflectionService, ReflectionServiceV1Alpha
from shared.rpc.server.standard_services import STANDARD_SERVICES, standard_services
from shared.rpc.standard import reflection_grpc, reflection_pb2, reflection_v1alpha_grpc, reflection_v1alpha_pb2
from shared.telemetry.health import Health
from tests.shared.rpc.conftest import make_services, open_client

ARCHIVE, SESSION = "rookery/v1/archive.proto", "rookery/v1/session.proto"
IMPORTS = [
    *("rookery/v1/kinds.proto", "google/protobuf/descriptor.proto"),
    *("rookery/v1/groups.proto", "rookery/v1/files.proto"),
]
"""The files that SESSION imports, directly or not."""

SERVED = ["rookery.v1.ArchiveService", "rookery.v1.SessionService", *STANDARD_SERVICES]

Reflect = Callable[..., Any]


class Version(NamedTuple):
    """One version of the protocol."""

    messages: Any
    stub: Any


@pytest.fixture(params=["v1", "v1alpha"])
def version(request: pytest.FixtureRequest) -> Version:
    if request.param == "v1":
        return Version(reflection_pb2, reflection_grpc.ServerReflectionStub)
    return Version(reflection_v1alpha_pb2, reflection_v1alpha_grpc.ServerReflectionStub)


@pytest.fixture
def reflect(version: Version) -> Reflect:
    async def reflect(*requests: dict[str, Any], services: Sequence[str] = SERVED) -> list[Any]:
        """Return the responses to the requests on one stream."""
        files = ProtoFiles(services)
        responses = []
        async with (
            open_client([ReflectionService(files), ReflectionServiceV1Alpha(files)]) as channel,
            open_stream(version.stub(channel).ServerReflectionInfo, timeout=30) as stream,
        ):
            for request in requests:
                await stream.send(version.messages.ServerReflectionRequest(**request))
                responses.append(await stream.receive())
            await stream.end()
            assert await stream.receive() is None
        return responses

    return reflect


@pytest.fixture
def extended_service() -> str:
    """Return the name of a service whose proto file has two extensions, one of them nested in a message."""
    file = FileDescriptorProto(name="reflected.proto", package="reflected")
    file.message_type.add(name="Extended").extension_range.add(start=100, end=200)
    optional, kind = FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.TYPE_INT32
    extension = FieldDescriptorProto(name="one", number=100, label=optional, type=kind, extendee=".reflected.Extended")
    file.extension.append(extension)
    holder = file.message_type.add(name="Holder").extension.add()
    holder.CopyFrom(extension)
    holder.name, holder.number = "two", 105
    method = file.service.add(name="Service").method.add(name="Call")
    method.input_type = method.output_type = ".reflected.Extended"
    default_pool().AddSerializedFile(file.SerializeToString())
    return "reflected.Service"


def files_of(response: Any) -> list[str]:
    """Return the names of the proto files in the response, in order."""
    files = response.file_descriptor_response.file_descriptor_proto
    return [FileDescriptorProto.FromString(file).name for file in files]


async def test_all_services_are_listed_the_standard_ones_too(version: Version) -> None:
    own = make_services()
    async with (
        open_client([*own, *standard_services(own, Health())]) as channel,
        open_stream(version.stub(channel).ServerReflectionInfo, timeout=30) as stream,
    ):
        await stream.send(version.messages.ServerReflectionRequest(list_services="*"))
        response = await stream.receive()
    assert response is not None
    assert [service.name for service in response.list_services_response.service] == sorted(SERVED)


async def test_a_file_is_found_by_name_and_by_symbol_with_its_imports(reflect: Reflect) -> None:
    for request in ({"file_by_filename": ARCHIVE}, {"file_containing_symbol": "rookery.v1.ArchiveService.GetChat"}):
        [response] = await reflect(request)
        assert files_of(response) == [ARCHIVE, SESSION, *IMPORTS], request


async def test_an_import_is_sent_once_on_a_stream_unless_requested(reflect: Reflect) -> None:
    by_name = {"file_by_filename": ARCHIVE}
    responses = await reflect(by_name, by_name, {"file_by_filename": SESSION})
    assert [files_of(response) for response in responses] == [[ARCHIVE, SESSION, *IMPORTS], [ARCHIVE], [SESSION]]


async def test_a_request_that_is_too_long_ends_the_call(reflect: Reflect) -> None:
    with pytest.raises(RpcError, match="1024 bytes") as caught:
        await reflect({"host": "x" * 1024, "file_by_filename": SESSION})
    assert caught.value.status is Status.INVALID_ARGUMENT


async def test_a_response_repeats_its_request(reflect: Reflect) -> None:
    request = {"host": "chat.example.org", "file_by_filename": SESSION}
    [response] = await reflect(request)
    assert response.valid_host == "chat.example.org"
    assert response.original_request == type(response.original_request)(**request)


@pytest.mark.parametrize(
    ("request_fields", "status"),
    [
        ({"file_by_filename": "rookery/v1/nothing.proto"}, Status.NOT_FOUND),
        ({"file_containing_symbol": "rookery.v1.Nothing"}, Status.NOT_FOUND),
        ({"file_containing_symbol": ""}, Status.NOT_FOUND),
        ({"file_by_filename": "rookery/v1/backplane.proto"}, Status.NOT_FOUND),  # loaded here, and no service needs it
        (
            {"file_containing_extension": {"containing_type": "rookery.v1.Chat", "extension_number": 9}},
            Status.NOT_FOUND,
        ),
        ({"all_extension_numbers_of_type": "rookery.v1.Nothing"}, Status.NOT_FOUND),
        ({"all_extension_numbers_of_type": "rookery.v1.ArchiveService"}, Status.NOT_FOUND),
        ({}, Status.INVALID_ARGUMENT),
    ],
)
async def test_an_unknown_symbol_is_an_error_in_the_response_and_the_stream_goes_on(
    reflect: Reflect, request_fields: dict[str, Any], status: Status
) -> None:
    assert rookery.v1.backplane_pb2.DESCRIPTOR.name == "rookery/v1/backplane.proto"
    error, listed = await reflect(request_fields, {"list_services": ""})
    assert error.error_response.error_code == status
    assert error.error_response.error_message
    assert listed.list_services_response.service


async def test_a_message_without_extensions_has_none(reflect: Reflect) -> None:
    [response] = await reflect({"all_extension_numbers_of_type": "rookery.v1.Chat"})
    assert response.all_extension_numbers_response.base_type_name == "rookery.v1.Chat"
    assert not response.all_extension_numbers_response.extension_number


async def test_extensions_are_found_by_message_and_number_wherever_they_are_declared(
    reflect: Reflect, extended_service: str
) -> None:
    message = "reflected.Extended"
    numbers, *found, missing = await reflect(
        {"all_extension_numbers_of_type": message},
        *(
            {"file_containing_extension": {"containing_type": message, "extension_number": number}}
            for number in (100, 105, 106)
        ),
        services=[extended_service],
    )
    assert numbers.all_extension_numbers_response.base_type_name == message
    assert list(numbers.all_extension_numbers_response.extension_number) == [100, 105]
    assert [files_of(each)[0] for each in found] == ["reflected.proto"] * 2
    assert missing.error_response.error_code == Status.NOT_FOUND


def test_protobuf_finds_each_symbol_in_the_same_file(extended_service: str) -> None:
    files = ProtoFiles([*SERVED, extended_service])
    services = [service for file in files.by_name.values() for service in file.services_by_name.values()]
    methods = {method.full_name for service in services for method in service.methods}  # which protobuf does not find
    assert methods < files.by_symbol.keys()
    for symbol in files.by_symbol.keys() - methods:
        assert default_pool().FindFileContainingSymbol(symbol).name == files.by_symbol[symbol].name


def test_a_service_whose_proto_is_not_loaded_is_refused_at_once() -> None:
    with pytest.raises(KeyError):
        ProtoFiles(["rookery.v1.NoSuchService"])
