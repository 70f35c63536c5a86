"""gRPC's interop cases, written once for every client in Python: ours, and grpcio's behind the interface of ours.

Each case raises AssertionError, or RpcError, if the server does not do what gRPC promises.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol

from shared.rpc import RpcError, Status
from tests.interop.generated import messages

LARGE_REQUEST = 271_828
LARGE_RESPONSE = 314_159
REQUEST_SIZES = (27_182, 8, 1_828, 45_904)
RESPONSE_SIZES = (31_415, 9, 2_653, 58_979)
"""Sizes of bodies in bytes, as in the standard."""

ECHO_INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
ECHO_TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")
"""The server echoes the first before its first message, the second with the status."""

SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"

SOAK_CALLS = 10
"""Enough to show that a channel, or a connection, can be reused."""

TIMEOUT = 30.0
"""Seconds; only a case that has failed takes that long."""


class Client(Protocol):
    """A client of the test service."""

    async def call(self, method: str, request: Any, *, service: str = "TestService") -> Any:
        """Call a unary method, and return its response."""

    def open(
        self,
        method: str,
        *,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        compressed: bool = False,
    ) -> AbstractAsyncContextManager[Any]:
        """Begin a call of any method. Returns a `shared.rpc.ClientStream`, or an object with its interface."""
        ...


async def empty_unary(client: Client) -> None:
    expect(await client.call("EmptyCall", messages.Empty()), messages.Empty())


async def large_unary(client: Client) -> None:
    response = await client.call("UnaryCall", simple_request(LARGE_REQUEST, LARGE_RESPONSE))
    expect(len(response.payload.body), LARGE_RESPONSE)


async def rpc_soak(client: Client) -> None:
    for _ in range(SOAK_CALLS):
        await large_unary(client)


async def client_compressed_unary(client: Client) -> None:
    with fails_with(Status.INVALID_ARGUMENT):
        await compressed_unary(client, compressed=False, declared=True)
    await client_compressed_unary_noprobe(client)


async def client_compressed_unary_noprobe(client: Client) -> None:
    await compressed_unary(client, compressed=True, declared=True)
    await compressed_unary(client, compressed=False, declared=False)


async def compressed_unary(client: Client, *, compressed: bool, declared: bool) -> None:
    """Make a large call whose request is compressed or not, and declares whether it should be."""
    request = simple_request(LARGE_REQUEST, LARGE_RESPONSE)
    request.expect_compressed.value = declared
    async with client.open("UnaryCall", timeout=TIMEOUT, compressed=True) as stream:
        await stream.send(request, compress=compressed)
        await stream.end()
        expect(await sizes(stream), [LARGE_RESPONSE])


async def server_compressed_unary(client: Client) -> None:
    for compressed in (True, False):
        request = simple_request(LARGE_REQUEST, LARGE_RESPONSE)
        request.response_compressed.value = compressed
        async with client.open("UnaryCall", timeout=TIMEOUT) as stream:
            await stream.send(request)
            await stream.end()
            await expect_compression(stream, [(LARGE_RESPONSE, compressed)])


async def client_streaming(client: Client) -> None:
    async with client.open("StreamingInputCall", timeout=TIMEOUT) as stream:
        for size in REQUEST_SIZES:
            await stream.send(messages.StreamingInputCallRequest(payload=payload(size)))
        await stream.end()
        expect((await next_response(stream)).aggregated_payload_size, sum(REQUEST_SIZES))
        expect(await stream.receive(), None)


async def client_compressed_streaming(client: Client) -> None:
    async with client.open("StreamingInputCall", timeout=TIMEOUT, compressed=True) as stream:
        request = messages.StreamingInputCallRequest(payload=payload(REQUEST_SIZES[0]))
        request.expect_compressed.value = True
        await stream.send(request, compress=False)
        await stream.end()
        with fails_with(Status.INVALID_ARGUMENT):
            await stream.receive()
    await client_compressed_streaming_noprobe(client)


async def client_compressed_streaming_noprobe(client: Client) -> None:
    async with client.open("StreamingInputCall", timeout=TIMEOUT, compressed=True) as stream:
        for size, compressed in ((27_182, True), (45_904, False)):
            request = messages.StreamingInputCallRequest(payload=payload(size))
            request.expect_compressed.value = compressed
            await stream.send(request, compress=compressed)
        await stream.end()
        expect((await next_response(stream)).aggregated_payload_size, 27_182 + 45_904)


async def server_streaming(client: Client) -> None:
    async with client.open("StreamingOutputCall", timeout=TIMEOUT) as stream:
        await stream.send(streaming_request(*RESPONSE_SIZES))
        await stream.end()
        expect(await sizes(stream), list(RESPONSE_SIZES))


async def server_compressed_streaming(client: Client) -> None:
    wanted = [(31_415, True), (92_653, False)]
    request = messages.StreamingOutputCallRequest()
    for size, compressed in wanted:
        request.response_parameters.add(size=size).compressed.value = compressed
    async with client.open("StreamingOutputCall", timeout=TIMEOUT) as stream:
        await stream.send(request)
        await stream.end()
        await expect_compression(stream, wanted)


async def ping_pong(client: Client) -> None:
    async with client.open("FullDuplexCall", timeout=TIMEOUT) as stream:
        for request_size, response_size in zip(REQUEST_SIZES, RESPONSE_SIZES, strict=True):
            await stream.send(streaming_request(response_size, body=request_size))
            expect(len((await next_response(stream)).payload.body), response_size)
        await stream.end()
        expect(await stream.receive(), None)


async def empty_stream(client: Client) -> None:
    async with client.open("FullDuplexCall", timeout=TIMEOUT) as stream:
        await stream.end()
        expect(await stream.receive(), None)


async def cancel_after_begin(client: Client) -> None:
    async with client.open("StreamingInputCall", metadata=[ECHO_INITIAL]) as stream:
        pass
    with fails_with(Status.CANCELLED):
        await stream.receive()
    await empty_unary(client)


async def cancel_after_first_response(client: Client) -> None:
    async with client.open("FullDuplexCall") as stream:
        await stream.send(streaming_request(31_415, body=27_182))
        expect(len((await next_response(stream)).payload.body), 31_415)
    with fails_with(Status.CANCELLED):
        await stream.receive()
    await empty_unary(client)


async def timeout_on_sleeping_server(client: Client) -> None:
    await empty_unary(client)  # connects, so that it is the call which takes too long
    with fails_with(Status.DEADLINE_EXCEEDED):
        async with client.open("FullDuplexCall", timeout=0.001) as stream:
            await stream.send(streaming_request(body=27_182))
            await stream.receive()


async def status_code_and_message(client: Client) -> None:
    status = messages.EchoStatus(code=Status.UNKNOWN, message="test status message")
    with fails_with(Status.UNKNOWN, status.message):
        await client.call("UnaryCall", messages.SimpleRequest(response_status=status))
    async with client.open("FullDuplexCall", timeout=TIMEOUT) as stream:
        await stream.send(messages.StreamingOutputCallRequest(response_status=status))
        await stream.end()
        with fails_with(Status.UNKNOWN, status.message):
            await stream.receive()


async def special_status_message(client: Client) -> None:
    request = messages.SimpleRequest()
    request.response_status.code, request.response_status.message = Status.UNKNOWN, SPECIAL_MESSAGE
    with fails_with(Status.UNKNOWN, SPECIAL_MESSAGE):
        await client.call("UnaryCall", request)


async def custom_metadata(client: Client) -> None:
    calls = [
        ("UnaryCall", simple_request(LARGE_REQUEST, LARGE_RESPONSE)),
        ("FullDuplexCall", streaming_request(LARGE_RESPONSE, body=LARGE_REQUEST)),
    ]
    for method, request in calls:
        async with client.open(method, timeout=TIMEOUT, metadata=[ECHO_INITIAL, ECHO_TRAILING]) as stream:
            await stream.send(request)
            await stream.end()
            expect(await sizes(stream), [LARGE_RESPONSE])
            expect_once(stream.metadata, ECHO_INITIAL)
            expect_once(stream.trailing_metadata, ECHO_TRAILING)


async def unimplemented_method(client: Client) -> None:
    with fails_with(Status.UNIMPLEMENTED):
        await client.call("UnimplementedCall", messages.Empty())


async def unimplemented_service(client: Client) -> None:
    with fails_with(Status.UNIMPLEMENTED):
        await client.call("UnimplementedCall", messages.Empty(), service="UnimplementedService")


async def run_case(name: str, open_client: Callable[[], AbstractAsyncContextManager[Client]]) -> None:
    """Run a case with a new client. Raises AssertionError or RpcError if it fails."""
    case: Callable[[Client], Awaitable[None]] = large_unary if name == "channel_soak" else globals()[name]
    for _ in range(SOAK_CALLS if name == "channel_soak" else 1):
        async with open_client() as client:
            await case(client)


def simple_request(body: int, response: int) -> Any:
    """Return a request with a body of `body` bytes that asks for a response of `response` bytes."""
    return messages.SimpleRequest(payload=payload(body), response_size=response)


def streaming_request(*responses: int, body: int = 0) -> Any:
    """Return a request with a body of `body` bytes that asks for responses of these sizes."""
    wanted = [messages.ResponseParameters(size=size) for size in responses]
    return messages.StreamingOutputCallRequest(payload=payload(body), response_parameters=wanted)


def payload(size: int) -> Any:
    """Return a body of `size` bytes."""
    return messages.Payload(body=bytes(size))


async def next_response(stream: Any) -> Any:
    """Return the server's next message. Raises AssertionError if there is none."""
    response = await stream.receive()
    assert response is not None, "the call has ended"
    return response


async def sizes(stream: Any) -> list[int]:
    """Return the sizes of the bodies of all responses, until the call has ended."""
    found = []
    while (response := await stream.receive()) is not None:
        found.append(len(response.payload.body))
    return found


async def expect_compression(stream: Any, wanted: list[tuple[int, bool]]) -> None:
    """Expect responses of these sizes, compressed or not; grpcio can't tell whether a response was compressed."""
    found = []
    while (response := await stream.receive()) is not None:
        found.append((len(response.payload.body), stream.received_compressed))
    if any(compressed is None for _, compressed in found):
        wanted = [(size, None) for size, _ in wanted]  # type: ignore[misc]
    expect(found, wanted)


def expect(actual: object, wanted: object) -> None:
    assert actual == wanted, f"{actual!r} instead of {wanted!r}"


def expect_once(metadata: Sequence[tuple[str, str | bytes]], pair: tuple[str, str | bytes]) -> None:
    """Expect the name once in the metadata, with this value."""
    expect([value for name, value in metadata if name == pair[0]], [pair[1]])


@contextmanager
def fails_with(status: Status, message: str | None = None) -> Iterator[None]:
    """Expect the block to raise an RpcError with this status, and with this message unless it is None."""
    try:
        yield
    except RpcError as error:
        expect(error.status, status)
        expect(error.message, error.message if message is None else message)
    else:
        raise AssertionError(f"the call did not end with {status.name}")
