"""grpcio's client for gRPC's interop cases, with its stock stubs: calls our server.

It can't detect whether a response was compressed: the server_compressed cases only show that it can be read. For each
case of --test_case (separated by commas) it prints the name, and the failure if it failed.
"""

import argparse
import json
import queue
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import trio

from shared.rpc import RpcError, Status
from tests.interop.cases import TIMEOUT, run_case
from tests.interop.generated import stock_services

LACKS = ("client_compressed_streaming",)
"""grpcio compresses all messages of a stream, or none."""

METHODS_WITH_ONE_REQUEST = ("UnaryCall", "StreamingOutputCall")
METHODS_WITH_ONE_RESPONSE = ("UnaryCall", "StreamingInputCall")


class StockStream:
    """A call of grpcio with the interface of `shared.rpc.ClientStream`. Its methods block their thread."""

    received_compressed = None

    def __init__(self, stub: Any, method: str, timeout: float | None, metadata: Sequence[tuple[str, Any]]) -> None:
        self._requests: queue.Queue[Any] = queue.Queue()
        self._method = getattr(stub, method)
        self._options: dict[str, Any] = {"timeout": timeout, "metadata": metadata}
        self._takes_one = method in METHODS_WITH_ONE_REQUEST
        self._returns_one = method in METHODS_WITH_ONE_RESPONSE
        self._responses: Iterator[Any] = iter(())
        self.call: Any = None
        if not self._takes_one:
            self._begin(iter(self._requests.get, None))

    def _begin(self, requests: Any) -> None:
        if self._returns_one:
            self.call = self._method.future(requests, **self._options)
            self._responses = (self.call.result() for _ in range(1))
        else:
            self.call = self._responses = self._method(requests, **self._options)

    async def send(self, message: Any, *, compress: bool | None = None) -> None:
        if not self._takes_one:
            self._requests.put(message)
            return
        if compress is not None:
            self._options["compression"] = grpc.Compression.Gzip if compress else grpc.Compression.NoCompression
        self._begin(message)

    async def end(self) -> None:
        self._requests.put(None)

    async def receive(self) -> Any:
        with mapped_errors():
            return next(self._responses, None)

    @property
    def metadata(self) -> Any:
        return self.call.initial_metadata()

    @property
    def trailing_metadata(self) -> Any:
        return self.call.trailing_metadata()


class StockClient:
    """A client on a channel of grpcio."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    async def call(self, method: str, request: Any, *, service: str = "TestService") -> Any:
        stub = getattr(stock_services, f"{service}Stub")(self.channel)
        with mapped_errors():
            return getattr(stub, method)(request, timeout=TIMEOUT)

    @asynccontextmanager
    async def open(
        self,
        method: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - grpcio's own
        metadata: Sequence[tuple[str, Any]] = (),
        compressed: bool = False,  # each message decides
    ) -> AsyncIterator[StockStream]:
        stream = StockStream(stock_services.TestServiceStub(self.channel), method, timeout, metadata)
        try:
            yield stream
        finally:
            if stream.call is not None:
                stream.call.cancel()
            await stream.end()  # lets grpcio's thread end, which reads the requests


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Raise grpcio's errors as ours."""
    try:
        yield
    except grpc.FutureCancelledError:
        raise RpcError(Status.CANCELLED, "") from None
    except grpc.RpcError as error:
        status: Any = error
        raise RpcError(Status(status.code().value[0]), status.details()) from None


@asynccontextmanager
async def open_client(port: int, authority: bytes | None) -> AsyncIterator[StockClient]:
    """Open a channel with its own connection, over TLS if a certificate authority is given."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    target = f"127.0.0.1:{port}"
    if authority is None:
        channel = grpc.insecure_channel(target, options)
    else:
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(authority), options)
    with channel:
        yield StockClient(channel)


def main() -> None:
    parser = argparse.ArgumentParser(description="grpcio's client for gRPC's interop cases.")
    parser.add_argument("--server_port", type=int, required=True)
    parser.add_argument("--ca_file", type=Path)
    parser.add_argument("--test_case", required=True)
    options = parser.parse_args()
    authority = options.ca_file.read_bytes() if options.ca_file else None
    for case in options.test_case.split(","):
        failure = ""
        try:
            if case in LACKS:
                raise NotImplementedError(case)
            trio.run(run_case, case, partial(open_client, options.server_port, authority))
        except Exception:  # a case may raise anything; the others run nevertheless
            failure = traceback.format_exc()
        print(json.dumps([case, failure]), flush=True)


if __name__ == "__main__":
    main()
