"""A web server, and a proxy, whose responses the tests script."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from messaging.previews import connections

PAGE = b"<head><title>Title</title><meta property=og:image content=picture.png></head>"


def response(body: bytes = b"", media_type: str = "text/html", status: int = 200, **headers: str) -> bytes:
    fields = {"content-type": media_type, "content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} x\r\n{head}\r\n".encode() + body


class Server:
    """Answers each request by its target: with these bytes, which are repeated for ever if `endless` has the target."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.endless: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.heads: list[bytes] = []
        self.gone = trio.Event()
        self.port = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        head = bytearray()
        try:
            while b"\r\n\r\n" not in head:
                if not (data := await stream.receive_some()):
                    return
                head += data
            target = head.split()[1].decode()
            self.requests.append(target)
            self.heads.append(bytes(head))
            await stream.send_all(self.answers.get(target, response(status=404)))
            while target in self.endless:
                await stream.send_all(self.endless[target])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.gone.set()
        finally:
            await trio.aclose_forcefully(stream)


@pytest.fixture
async def server(nursery: trio.Nursery) -> AsyncIterator[Server]:
    server = Server()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server.port = listener.socket.getsockname()[1]
    nursery.start_soon(trio.serve_listeners, server.serve, [listener])
    yield server
    nursery.cancel_scope.cancel()


@pytest.fixture
def web(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, which is asked for each URL of http, whatever its host."""
    monkeypatch.setitem(connections.PORTS, "http", server.port)
    return server


class Names(trio.abc.HostnameResolver):
    """Resolves names as scripted: at each look-up to the next of their addresses."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[list[str]]] = {}

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        found = self.addresses[name].pop(0) if name in self.addresses else [name]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    names = Names()
    trio.socket.set_custom_hostname_resolver(names)
    yield names
    trio.socket.set_custom_hostname_resolver(None)
