"""grpcio's client for gRPC's interop cases, written with its stock tools: calls our server.

It can't detect whether a response was compressed: the server_compressed cases only show that it can be read. For each
case of --test_case (separated by commas) it prints the name, and the failure if it failed.
"""

import argparse
import json
import queue
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

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
from tests.interop.generated import messages, stock_services

Case = Callable[[grpc.Channel], None]


def empty_unary(channel: grpc.Channel) -> None:
    expect(stub(channel).EmptyCall(messages.Empty(), timeout=TIMEOUT), messages.Empty())


def large_unary(channel: grpc.Channel) -> None:
    response = stub(channel).UnaryCall(simple_request(LARGE_REQUEST, LARGE_RESPONSE), timeout=TIMEOUT)
    expect(len(response.payload.body), LARGE_RESPONSE)


def rpc_soak(channel: grpc.Channel) -> None:
    for _ in range(SOAK_CALLS):
        large_unary(channel)


def client_compressed_unary(channel: grpc.Channel) -> None:
    with fails_with(grpc.StatusCode.INVALID_ARGUMENT):
        compressed_unary(channel, compressed=False, declared=True)
    compressed_unary(channel, compressed=True, declared=True)
    compressed_unary(channel, compressed=False, declared=False)


def compressed_unary(channel: grpc.Channel, *, compressed: bool, declared: bool) -> None:
    """Make a large call whose request is compressed or not, and declares whether it should be."""
    request = simple_request(LARGE_REQUEST, LARGE_RESPONSE)
    request.expect_compressed.value = declared
    compression = grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression
    response = stub(channel).UnaryCall(request, timeout=TIMEOUT, compression=compression)
    expect(len(response.payload.body), LARGE_RESPONSE)


def server_compressed_unary(channel: grpc.Channel) -> None:
    for compressed in (True, False):
        request = simple_request(LARGE_REQUEST, LARGE_RESPONSE)
        request.response_compressed.value = compressed
        response = stub(channel).UnaryCall(request, timeout=TIMEOUT)
        expect(len(response.payload.body), LARGE_RESPONSE)


def client_streaming(channel: grpc.Channel) -> None:
    requests = [messages.StreamingInputCallRequest(payload=payload(size)) for size in REQUEST_SIZES]
    response = stub(channel).StreamingInputCall(iter(requests), timeout=TIMEOUT)
    expect(response.aggregated_payload_size, sum(REQUEST_SIZES))


def server_streaming(channel: grpc.Channel) -> None:
    responses = stub(channel).StreamingOutputCall(streaming_request(*RESPONSE_SIZES), timeout=TIMEOUT)
    expect(sizes(responses), list(RESPONSE_SIZES))


def server_compressed_streaming(channel: grpc.Channel) -> None:
    request = streaming_request(31_415, 92_653)
    request.response_parameters[0].compressed.value = True
    expect(sizes(stub(channel).StreamingOutputCall(request, timeout=TIMEOUT)), [31_415, 92_653])


def ping_pong(channel: grpc.Channel) -> None:
    with FullDuplex(channel) as call:
        for request_size, response_size in zip(REQUEST_SIZES, RESPONSE_SIZES, strict=True):
            call.send(streaming_request(response_size, body=request_size))
            expect(len(next(call.responses).payload.body), response_size)
        call.end()
        expect(sizes(call.responses), [])


def empty_stream(channel: grpc.Channel) -> None:
    expect(sizes(stub(channel).FullDuplexCall(iter(()), timeout=TIMEOUT)), [])


def cancel_after_begin(channel: grpc.Channel) -> None:
    never: queue.Queue[Any] = queue.Queue()
    call = stub(channel).StreamingInputCall.future(iter(never.get, None), metadata=[ECHO_INITIAL])
    call.cancel()
    never.put(None)
    expect(call.code(), grpc.StatusCode.CANCELLED)


def cancel_after_first_response(channel: grpc.Channel) -> None:
    with FullDuplex(channel) as call:
        call.send(streaming_request(31_415, body=27_182))
        expect(len(next(call.responses).payload.body), 31_415)
        call.responses.cancel()
        with fails_with(grpc.StatusCode.CANCELLED):
            next(call.responses)


def timeout_on_sleeping_server(channel: grpc.Channel) -> None:
    with FullDuplex(channel, timeout=0.001) as call:
        call.send(streaming_request(body=27_182))
        with fails_with(grpc.StatusCode.DEADLINE_EXCEEDED):
            next(call.responses)


def status_code_and_message(channel: grpc.Channel) -> None:
    status = messages.EchoStatus(code=grpc.StatusCode.UNKNOWN.value[0], message="test status message")
    with fails_with(grpc.StatusCode.UNKNOWN, status.message):
        stub(channel).UnaryCall(messages.SimpleRequest(response_status=status), timeout=TIMEOUT)
    request = messages.StreamingOutputCallRequest(response_status=status)
    with fails_with(grpc.StatusCode.UNKNOWN, status.message):
        sizes(stub(channel).FullDuplexCall(iter([request]), timeout=TIMEOUT))


def special_status_message(channel: grpc.Channel) -> None:
    request = messages.SimpleRequest()
    request.response_status.code = grpc.StatusCode.UNKNOWN.value[0]
    request.response_status.message = SPECIAL_MESSAGE
    with fails_with(grpc.StatusCode.UNKNOWN, SPECIAL_MESSAGE):
        stub(channel).UnaryCall(request, timeout=TIMEOUT)


def custom_metadata(channel: grpc.Channel) -> None:
    metadata = [ECHO_INITIAL, ECHO_TRAILING]
    request = simple_request(LARGE_REQUEST, LARGE_RESPONSE)
    _, unary = stub(channel).UnaryCall.with_call(request, metadata=metadata, timeout=TIMEOUT)
    requests = iter([streaming_request(LARGE_RESPONSE, body=LARGE_REQUEST)])
    streaming = stub(channel).FullDuplexCall(requests, metadata=metadata, timeout=TIMEOUT)
    expect(sizes(streaming), [LARGE_RESPONSE])
    for call in (unary, streaming):
        expect_once(call.initial_metadata(), ECHO_INITIAL)
        expect_once(call.trailing_metadata(), ECHO_TRAILING)


def unimplemented_method(channel: grpc.Channel) -> None:
    with fails_with(grpc.StatusCode.UNIMPLEMENTED):
        stub(channel).UnimplementedCall(messages.Empty(), timeout=TIMEOUT)


def unimplemented_service(channel: grpc.Channel) -> None:
    with fails_with(grpc.StatusCode.UNIMPLEMENTED):
        stock_services.UnimplementedServiceStub(channel).UnimplementedCall(messages.Empty(), timeout=TIMEOUT)


CASES: dict[str, Case] = {
    "empty_unary": empty_unary,
    "large_unary": large_unary,
    "client_compressed_unary": client_compressed_unary,
    "server_compressed_unary": server_compressed_unary,
    "client_streaming": client_streaming,
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


class FullDuplex:
    """A FullDuplexCall whose requests are sent one by one."""

    def __init__(self, channel: grpc.Channel, timeout: float = TIMEOUT) -> None:
        self._requests: queue.Queue[Any] = queue.Queue()
        self.responses = stub(channel).FullDuplexCall(iter(self._requests.get, None), timeout=timeout)

    def __enter__(self) -> "FullDuplex":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def send(self, request: Any) -> None:
        self._requests.put(request)

    def end(self) -> None:
        """Half-close the call."""
        self._requests.put(None)


def stub(channel: grpc.Channel) -> Any:
    return stock_services.TestServiceStub(channel)


def sizes(responses: Iterable[Any]) -> list[int]:
    """Return the sizes of the bodies of all responses, until the call has ended."""
    return [len(response.payload.body) for response in responses]


@contextmanager
def fails_with(status: grpc.StatusCode, message: str | None = None) -> Iterator[None]:
    """Expect the block to raise an RpcError with this status, and with this message unless it is None."""
    try:
        yield
    except grpc.RpcError as error:
        expect(error.code(), status)
        expect(error.details(), error.details() if message is None else message)
    else:
        raise AssertionError(f"the call did not end with {status.name}")


def open_channel(port: int, ca_file: Path | None) -> grpc.Channel:
    """Open a channel with its own connection, over TLS if a certificate authority is given."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if ca_file is None:
        return grpc.insecure_channel(f"127.0.0.1:{port}", options)
    return grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(ca_file.read_bytes()), options)


def run_case(name: str, port: int, ca_file: Path | None) -> None:
    """Run a case over a channel of its own. Raises AssertionError or grpc.RpcError if it fails, KeyError if there is
    no such case."""
    for _ in range(SOAK_CALLS if name == "channel_soak" else 1):
        with open_channel(port, ca_file) as channel:
            CASES[name](channel)


def main() -> None:
    parser = argparse.ArgumentParser(description="grpcio's client for gRPC's interop cases.")
    parser.add_argument("--server_port", type=int, required=True)
    parser.add_argument("--ca_file", type=Path)
    parser.add_argument("--test_case", required=True)
    options = parser.parse_args()
    for case in options.test_case.split(","):
        failure = ""
        try:
            run_case(case, options.server_port, options.ca_file)
        except Exception:
            failure = traceback.format_exc()
        print(json.dumps([case, failure]), flush=True)


if __name__ == "__main__":
    main()
