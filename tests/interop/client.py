"""Our client for gRPC's interop cases, on shared.rpc: calls the stock servers of other languages.

python -m tests.interop.client --server_port PORT --test_case CASE[,CASE...]
"""

import argparse
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from shared.rpc import Channel, call_unary, open_channel, open_stream
from tests.interop.cases import TIMEOUT, run_case
from tests.interop.generated import services


@dataclass(frozen=True, slots=True)
class OurClient:
    """A client on a channel of shared.rpc."""

    channel: Channel

    async def call(self, method: str, request: Any, *, service: str = "TestService") -> Any:
        stub = getattr(services, f"{service}Stub")(self.channel)
        return await call_unary(getattr(stub, method), request, timeout=TIMEOUT)

    def open(self, method: str, **options: Any) -> AbstractAsyncContextManager[Any]:
        return open_stream(getattr(services.TestServiceStub(self.channel), method), **options)


@dataclass(frozen=True, slots=True)
class Address:
    """A server's port, and how to verify its certificate."""

    port: int
    tls: ssl.SSLContext | None = None
    server_name: str | None = None

    @asynccontextmanager
    async def open_client(self) -> AsyncIterator[OurClient]:
        async with open_channel("127.0.0.1", self.port, tls=self.tls, server_name=self.server_name) as channel:
            yield OurClient(channel)


def main() -> None:
    parser = argparse.ArgumentParser(description="Our client for gRPC's interop cases.")
    parser.add_argument("--server_port", type=int, required=True)
    parser.add_argument("--test_case", required=True)
    options = parser.parse_args()
    for case in options.test_case.split(","):
        trio.run(run_case, case, Address(options.server_port).open_client)
        print(case, "passed")


if __name__ == "__main__":
    main()
