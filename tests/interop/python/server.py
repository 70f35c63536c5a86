"""grpcio's server for gRPC's interop cases, written with its stock tools: our client calls it.

It can't detect whether a request was compressed, so it lacks the probes of the client_compressed cases.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from tests.interop.cases import ECHO_INITIAL, ECHO_TRAILING, payload
from tests.interop.generated import messages, stock_services


class TestService(stock_services.TestServiceServicer):  # type: ignore[misc, name-defined]
    """Responds as each request demands."""

    def EmptyCall(self, request: Any, context: grpc.ServicerContext) -> Any:
        return messages.Empty()

    def UnaryCall(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        echo_metadata(context)
        abort_as_requested(request.response_status, context)
        return messages.SimpleResponse(payload=payload(request.response_size))

    def StreamingOutputCall(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.set_compression(grpc.Compression.Gzip)
        yield from responses(request, context)

    def StreamingInputCall(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        size = sum(len(request.payload.body) for request in requests)
        return messages.StreamingInputCallResponse(aggregated_payload_size=size)

    def FullDuplexCall(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        echo_metadata(context)
        for request in requests:
            yield from responses(request, context)


def responses(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
    """Yield the responses to a request of a stream."""
    abort_as_requested(request.response_status, context)
    for wanted in request.response_parameters:
        time.sleep(wanted.interval_us / 1_000_000)
        if not wanted.compressed.value:
            context.disable_next_message_compression()
        yield messages.StreamingOutputCallResponse(payload=payload(wanted.size))


def echo_metadata(context: grpc.ServicerContext) -> None:
    """Echo the client's metadata: one entry before the first message, one with the status."""
    sent = context.invocation_metadata()
    if initial := tuple(pair for pair in sent if pair[0] == ECHO_INITIAL[0]):
        context.send_initial_metadata(initial)
    context.set_trailing_metadata(tuple(pair for pair in sent if pair[0] == ECHO_TRAILING[0]))


def abort_as_requested(status: Any, context: grpc.ServicerContext) -> None:
    """End the call with the requested status, unless that is OK."""
    if status.code:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        context.abort(codes[status.code], status.message)


def main() -> None:
    parser = argparse.ArgumentParser(description="grpcio's server for gRPC's interop cases.")
    parser.add_argument("--tls_cert_file", type=Path)
    parser.add_argument("--tls_key_file", type=Path)
    options = parser.parse_args()
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    stock_services.add_TestServiceServicer_to_server(TestService(), server)
    if options.tls_cert_file:
        pair = (options.tls_key_file.read_bytes(), options.tls_cert_file.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print("listening on", port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
