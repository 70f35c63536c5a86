"""Our server for gRPC's interop cases, on shared.rpc: called by the stock clients of other languages.

python -m tests.interop.server --port 0 [--tls_cert_file CERTIFICATE --tls_key_file KEY]

prints its port when it listens, and serves until it is stopped.
"""

import argparse
import ssl
from typing import Any

import trio

from shared.rpc import RpcError, ServerStream, Servicer, Status, serve_rpc, stream_handler
from shared.rpc.status import status_of
from tests.interop.cases import ECHO_INITIAL, ECHO_TRAILING, payload
from tests.interop.generated import messages, services

Stream = ServerStream[Any, Any]


class TestService(services.TestServiceServicer):  # type: ignore[misc, name-defined]
    """Responds as each request demands. UnimplementedCall is not overridden."""

    __test__ = False  # not a class of pytest's

    async def EmptyCall(self, request: Any) -> Any:
        return messages.Empty()

    @stream_handler
    async def UnaryCall(self, stream: Stream) -> None:
        request = await one_request(stream)
        check_compression(stream, request)
        if request.response_compressed.value:
            stream.start_compression()
        await echo_metadata(stream)
        raise_requested_status(request.response_status)
        await stream.send(messages.SimpleResponse(payload=payload(request.response_size)))

    @stream_handler
    async def StreamingOutputCall(self, stream: Stream) -> None:
        request = await one_request(stream)
        stream.start_compression()
        await send_responses(stream, request)

    @stream_handler
    async def StreamingInputCall(self, stream: Stream) -> None:
        size = 0
        while (request := await stream.receive()) is not None:
            check_compression(stream, request)
            size += len(request.payload.body)
        await stream.send(messages.StreamingInputCallResponse(aggregated_payload_size=size))

    @stream_handler
    async def FullDuplexCall(self, stream: Stream) -> None:
        await echo_metadata(stream)
        while (request := await stream.receive()) is not None:
            await send_responses(stream, request)


async def one_request(stream: Stream) -> Any:
    """Return the only request of a call that takes one."""
    request = await stream.receive()
    if request is None or await stream.receive() is not None:
        raise RpcError(Status.UNIMPLEMENTED, "the call takes one request")
    return request


async def echo_metadata(stream: Stream) -> None:
    """Echo the client's metadata: one entry before the first message, one with the status."""
    stream.trailing_metadata = [pair for pair in stream.metadata if pair[0] == ECHO_TRAILING[0]]
    if initial := [pair for pair in stream.metadata if pair[0] == ECHO_INITIAL[0]]:
        await stream.send_metadata(initial)


async def send_responses(stream: Stream, request: Any) -> None:
    """Send the responses to a request of a stream."""
    raise_requested_status(request.response_status)
    for wanted in request.response_parameters:
        await trio.sleep(wanted.interval_us / 1_000_000)
        response = messages.StreamingOutputCallResponse(payload=payload(wanted.size))
        await stream.send(response, compress=wanted.compressed.value)


def check_compression(stream: Stream, request: Any) -> None:
    """Refuse the last received request if it should have been compressed and was not."""
    if request.expect_compressed.value and not stream.received_compressed:
        raise RpcError(Status.INVALID_ARGUMENT, "the request should be compressed")


def raise_requested_status(status: Any) -> None:
    """Raise the requested status, unless that is OK."""
    if status.code:
        raise RpcError(status_of(status.code), status.message)


def listeners_with_tls(listeners: list[trio.SocketListener], certificate: str, key: str) -> list[Any]:
    """Wrap the listeners in TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    return [trio.SSLListener(listener, context) for listener in listeners]


async def serve(port: int, certificate: str | None, key: str | None) -> None:
    """Listen on loopback, print the port, and serve."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    print("listening on", listeners[0].socket.getsockname()[1], flush=True)
    secure = listeners_with_tls(listeners, certificate, key) if certificate and key else listeners
    test_service: Servicer = TestService()
    await serve_rpc([test_service], secure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Our server for gRPC's interop cases.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls_cert_file")
    parser.add_argument("--tls_key_file")
    options = parser.parse_args()
    trio.run(serve, options.port, options.tls_cert_file, options.tls_key_file)


if __name__ == "__main__":
    main()
