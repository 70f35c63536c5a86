"""Our client for gRPC's interop cases, on shared.rpc: calls the stock servers of other languages.

python -m tests.interop.client --server_port PORT --test_case CASE[,CASE...]

Each case raises AssertionError, or RpcError, if the server does not do what gRPC promises.
"""

import argparse
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import trio

from shared.rpc import Channel, RpcError, Status, call_unary, open_channel, open_stream
from tests.interop.cases import (
    ECHO_INITIAL,
    ECHO_TRAILING,
    LARGE_REQUEST,
    LARGE_RESPONSE,
    REQUEST_SIZES,
    RESPONSE_SIZES,
    SOAK_CALLS,
    SPECIAL_MESSAGE,
    TIMEOUT,
    expect,
    expect_once,
    payload,
    simple_request,
    streaming_request,
)
from tests.interop.generated import messages, services

Case = Callable[[Channel], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Address:
    """A server's port, and how to verify its certificate."""

    port: int
    tls: ssl.SSLContext | None = None
    server_name: str | None = None

    def channel(self) -> AbstractAsyncContextManager[Channel]:
        """Open a channel to the server."""
        return open_channel("127.0.0.1", self.port, tls=self.tls, server_name=self.server_name)


async def run_case(name: str, address: Address) -> None:
    """Run a case over a channel of its own. Raises AssertionError or RpcError if it fails."""
    for _ in range(SOAK_CALLS if name == "channel_soak" else 1):
        async with address.channel() as channel:
            await CASES[name](channel)


async def empty_unary(channel: Channel) -> None:
    expect(await call_unary(stub(channel).EmptyCall, messages.Empty(), timeout=TIMEOUT), messages.Empty())


async def large_unary(channel: Channel) -> None:
    request = simple_request(LARGE_REQUEST, LARGE_RESPONSE)
    response = await call_unary(stub(channel).UnaryCall, request, timeout=TIMEOUT)
    expect(len(response.payload.body), LARGE_RESPONSE)


async def rpc_soak(channel: Channel) -> None:
    for _ in range(SOAK_CALLS):
        await large_unary(channel)


async def client_compressed_unary(channel: Channel) -> None:
    with fails_with(Status.INVALID_ARGUMENT):
        await compressed_unary(channel, compressed=False, declared=True)
    await client_compressed_unary_noprobe(channel)


async def client_compressed_unary_noprobe(channel: Channel) -> None:
    await compressed_unary(channel, compressed=True, declared=True)
    await compressed_unary(channel, compressed=False, declared=False)


async def compressed_unary(channel: Channel, *, compressed: bool, declared: bool) -> None:
    """Make a large call whose request is compressed or not, and declares whether it should be."""
    request = simple_request(LARGE_REQUEST, LARGE_RESPONSE)
    request.expect_compressed.value = declared
    async with open_stream(stub(channel).UnaryCall, timeout=TIMEOUT, compressed=True) as stream:
        await stream.send(request, compress=compressed)
        await stream.end()
        expect(await sizes(stream), [LARGE_RESPONSE])


async def server_compressed_unary(channel: Channel) -> None:
    for compressed in (True, False):
        request = simple_request(LARGE_REQUEST, LARGE_RESPONSE)
        request.response_compressed.value = compressed
        async with open_stream(stub(channel).UnaryCall, timeout=TIMEOUT) as stream:
            await stream.send(request)
            await stream.end()
            expect(await sizes_and_compression(stream), [(LARGE_RESPONSE, compressed)])


async def client_streaming(channel: Channel) -> None:
    async with open_stream(stub(channel).StreamingInputCall, timeout=TIMEOUT) as stream:
        for size in REQUEST_SIZES:
            await stream.send(messages.StreamingInputCallRequest(payload=payload(size)))
        await stream.end()
        expect((await next_response(stream)).aggregated_payload_size, sum(REQUEST_SIZES))
        expect(await stream.receive(), None)


async def client_compressed_streaming(channel: Channel) -> None:
    async with open_stream(stub(channel).StreamingInputCall, timeout=TIMEOUT, compressed=True) as stream:
        request = messages.StreamingInputCallRequest(payload=payload(REQUEST_SIZES[0]))
        request.expect_compressed.value = True
        await stream.send(request, compress=False)
        await stream.end()
        with fails_with(Status.INVALID_ARGUMENT):
            await stream.receive()
    await client_compressed_streaming_noprobe(channel)


async def client_compressed_streaming_noprobe(channel: Channel) -> None:
    async with open_stream(stub(channel).StreamingInputCall, timeout=TIMEOUT, compressed=True) as stream:
        for size, compressed in ((27_182, True), (45_904, False)):
            request = messages.StreamingInputCallRequest(payload=payload(size))
            request.expect_compressed.value = compressed
            await stream.send(request, compress=compressed)
        await stream.end()
        expect((await next_response(stream)).aggregated_payload_size, 27_182 + 45_904)


async def server_streaming(channel: Channel) -> None:
    async with open_stream(stub(channel).StreamingOutputCall, timeout=TIMEOUT) as stream:
        await stream.send(streaming_request(*RESPONSE_SIZES))
        await stream.end()
        expect(await sizes(stream), list(RESPONSE_SIZES))


async def server_compressed_streaming(channel: Channel) -> None:
    wanted = [(31_415, True), (92_653, False)]
    request = messages.StreamingOutputCallRequest()
    for size, compressed in wanted:
        request.response_parameters.add(size=size).compressed.value = compressed
    async with open_stream(stub(channel).StreamingOutputCall, timeout=TIMEOUT) as stream:
        await stream.send(request)
        await stream.end()
        expect(await sizes_and_compression(stream), wanted)


async def ping_pong(channel: Channel) -> None:
    async with open_stream(stub(channel).FullDuplexCall, timeout=TIMEOUT) as stream:
        for request_size, response_size in zip(REQUEST_SIZES, RESPONSE_SIZES, strict=True):
            await stream.send(streaming_request(response_size, body=request_size))
            expect(len((await next_response(stream)).payload.body), response_size)
        await stream.end()
        expect(await stream.receive(), None)


async def empty_stream(channel: Channel) -> None:
    async with open_stream(stub(channel).FullDuplexCall, timeout=TIMEOUT) as stream:
        await stream.end()
        expect(await stream.receive(), None)


async def cancel_after_begin(channel: Channel) -> None:
    async with open_stream(stub(channel).StreamingInputCall, metadata=[ECHO_INITIAL]) as stream:
        pass
    with fails_with(Status.CANCELLED):
        await stream.receive()
    await empty_unary(channel)


async def cancel_after_first_response(channel: Channel) -> None:
    async with open_stream(stub(channel).FullDuplexCall) as stream:
        await stream.send(streaming_request(31_415, body=27_182))
        expect(len((await next_response(stream)).payload.body), 31_415)
    with fails_with(Status.CANCELLED):
        await stream.receive()
    await empty_unary(channel)


async def timeout_on_sleeping_server(channel: Channel) -> None:
    await empty_unary(channel)  # connects, so that it is the call which takes too long
    with fails_with(Status.DEADLINE_EXCEEDED):
        async with open_stream(stub(channel).FullDuplexCall, timeout=0.001) as stream:
            await stream.send(streaming_request(body=27_182))
            await stream.receive()


async def status_code_and_message(channel: Channel) -> None:
    status = messages.EchoStatus(code=Status.UNKNOWN, message="test status message")
    with fails_with(Status.UNKNOWN, status.message):
        await call_unary(stub(channel).UnaryCall, messages.SimpleRequest(response_status=status), timeout=TIMEOUT)
    async with open_stream(stub(channel).FullDuplexCall, timeout=TIMEOUT) as stream:
        await stream.send(messages.StreamingOutputCallRequest(response_status=status))
        await stream.end()
        with fails_with(Status.UNKNOWN, status.message):
            await stream.receive()


async def special_status_message(channel: Channel) -> None:
    request = messages.SimpleRequest()
    request.response_status.code, request.response_status.message = Status.UNKNOWN, SPECIAL_MESSAGE
    with fails_with(Status.UNKNOWN, SPECIAL_MESSAGE):
        await call_unary(stub(channel).UnaryCall, request, timeout=TIMEOUT)


async def custom_metadata(channel: Channel) -> None:
    calls = [
        (stub(channel).UnaryCall, simple_request(LARGE_REQUEST, LARGE_RESPONSE)),
        (stub(channel).FullDuplexCall, streaming_request(LARGE_RESPONSE, body=LARGE_REQUEST)),
    ]
    for method, request in calls:
        async with open_stream(method, timeout=TIMEOUT, metadata=[ECHO_INITIAL, ECHO_TRAILING]) as stream:
            await stream.send(request)
            await stream.end()
            expect(await sizes(stream), [LARGE_RESPONSE])
            expect_once(stream.metadata, ECHO_INITIAL)
            expect_once(stream.trailing_metadata, ECHO_TRAILING)


async def unimplemented_method(channel: Channel) -> None:
    with fails_with(Status.UNIMPLEMENTED):
        await call_unary(stub(channel).UnimplementedCall, messages.Empty(), timeout=TIMEOUT)


async def unimplemented_service(channel: Channel) -> None:
    method = services.UnimplementedServiceStub(channel).UnimplementedCall
    with fails_with(Status.UNIMPLEMENTED):
        await call_unary(method, messages.Empty(), timeout=TIMEOUT)


CASES: dict[str, Case] = {
    "empty_unary": empty_unary,
    "large_unary": large_unary,
    "client_compressed_unary": client_compressed_unary,
    "client_compressed_unary_noprobe": client_compressed_unary_noprobe,
    "server_compressed_unary": server_compressed_unary,
    "client_streaming": client_streaming,
    "client_compressed_streaming": client_compressed_streaming,
    "client_compressed_streaming_noprobe": client_compressed_streaming_noprobe,
    "server_streaming": server_streaming,
    "server_compressed_streaming": server_compressed_streaming,
    "ping_pong": ping_pong,
    "empty_stream": empty_stream,
    "cancel_after_begin": cancel_after_begin,
    "cancel_after_first_response": cancel_after_first_response,
    "timeout_on_sleeping_server": timeout_on_sleeping_server,
    "status_code_and_message": status_code_and_message,
    "special_status_message": special_status_message,
    "custom_metadata": custom_metadata,
    "unimplemented_method": unimplemented_method,
    "unimplemented_service": unimplemented_service,
    "rpc_soak": rpc_soak,
    "channel_soak": large_unary,
}


def stub(channel: Channel) -> Any:
    return services.TestServiceStub(channel)


async def next_response(stream: Any) -> Any:
    """Return the server's next message. Raises AssertionError if there is none."""
    response = await stream.receive()
    assert response is not None, "the call has ended"
    return response


async def sizes(stream: Any) -> list[int]:
    """Return the sizes of the bodies of all responses, until the call has ended."""
    return [size for size, _ in await sizes_and_compression(stream)]


async def sizes_and_compression(stream: Any) -> list[tuple[int, bool]]:
    """Return the sizes, each with whether the response was compressed."""
    found = []
    while (response := await stream.receive()) is not None:
        found.append((len(response.payload.body), stream.received_compressed))
    return found


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


def main() -> None:
    parser = argparse.ArgumentParser(description="Our client for gRPC's interop cases.")
    parser.add_argument("--server_port", type=int, required=True)
    parser.add_argument("--test_case", required=True, help=", ".join(CASES))
    options = parser.parse_args()
    for case in options.test_case.split(","):
        trio.run(run_case, case, Address(options.server_port))
        print(case, "passed")


if __name__ == "__main__":
    main()
