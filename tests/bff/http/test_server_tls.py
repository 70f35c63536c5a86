"""The HTTP server over TLS, through raw streams: the same promises as in plain text, from the handshake on."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from bff.app import make_app
from bff.http.server import HttpLimits, Server, open_http_server
from shared.net.tls import ServerTls
from tests.bff.conftest import Api
from tools.launch.certificates import Authority, Issued

PATIENCE = 20.0
"""Seconds; only ends a test that has failed."""

MEGABYTE = 1024 * 1024

Stream = trio.SSLStream[trio.SocketStream]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers with scheme, path and client; `/large` with 64 MB after that."""
    body = f"{scope['scheme']} {scope['path']} {scope['client'][0]}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if scope["path"] == "/large":
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(MEGABYTE), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue()


@pytest.fixture
def tls(issued: Issued) -> ServerTls:
    return ServerTls(issued.settings(), issued.certificate)


@asynccontextmanager
async def serving(tls: ServerTls, app: Any = application, **limits: Any) -> AsyncIterator[Server]:
    async with open_http_server(app, "127.0.0.1", 0, HttpLimits(**limits), tls=tls) as server:
        yield server


@asynccontextmanager
async def connected(server: Server, context: ssl.SSLContext, *, lenient: bool = False) -> AsyncIterator[Stream]:
    """A connection on which hands are shaken. Unless it is lenient, as clients of HTTPS are, reading raises
    BrokenResourceError if its end comes without TLS's word."""
    host, port = server.address
    stream = await trio.open_ssl_over_tcp_stream(host, port, ssl_context=context, https_compatible=lenient)
    try:
        with trio.fail_after(PATIENCE):
            await stream.do_handshake()
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


async def get(stream: Stream, path: str = "/", headers: str = "") -> None:
    await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())


async def rest(stream: trio.abc.ReceiveStream) -> bytes:
    """What arrives until the server closes."""
    received = bytearray()
    with trio.fail_after(PATIENCE):
        while data := await stream.receive_some(65_536):
            received += data
    return bytes(received)


async def all_gone(server: Server) -> None:
    with trio.fail_after(PATIENCE):
        while server.connections:
            await trio.sleep(0.005)


async def test_the_application_sees_https_and_who_asks(tls: ServerTls, authority: Authority) -> None:
    async with serving(tls) as server, connected(server, authority.trusting()) as stream:
        await get(stream, "/first")
        await get(stream, "/last", "Connection: close\r\n")
        answers = await rest(stream)
        assert b"https /first 127.0.0.1" in answers
        assert b"https /last 127.0.0.1" in answers
        assert server.address == stream.transport_stream.socket.getpeername()


@pytest.mark.parametrize(("offered", "chosen"), [(("h2", "http/1.1"), "http/1.1"), (("h2",), None)])
async def test_http2_is_not_chosen(
    tls: ServerTls, authority: Authority, offered: tuple[str, ...], chosen: str | None
) -> None:
    async with serving(tls) as server, connected(server, authority.trusting(*offered)) as stream:
        assert stream.selected_alpn_protocol() == chosen
        await get(stream, headers="Connection: close\r\n")
        assert (await rest(stream)).startswith(b"HTTP/1.1 200")


async def test_the_end_is_said_in_tls_too(tls: ServerTls, authority: Authority) -> None:
    async with serving(tls, linger_seconds=PATIENCE) as server, connected(server, authority.trusting()) as stream:
        await get(stream, headers="Connection: close\r\n")
        assert b"https /" in await rest(stream)


async def test_a_client_that_goes_without_a_word_is_gone(tls: ServerTls, authority: Authority) -> None:
    async with serving(tls) as server:
        async with connected(server, authority.trusting()) as stream:
            await get(stream)
            await stream.receive_some(100)
        await all_gone(server)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "begun"])
async def test_a_handshake_that_does_not_end_is_cut_off(tls: ServerTls, authority: Authority, said: bytes) -> None:
    async with serving(tls, idle_seconds=1.5) as server, AsyncExitStack() as stack:
        half_open = [await trio.open_tcp_stream(*server.address) for _ in range(50)]
        for plain in half_open:
            stack.push_async_callback(plain.aclose)
            await plain.send_all(said)
        async with connected(server, authority.trusting()) as stream:
            await get(stream, headers="Connection: close\r\n")
            assert b"https /" in await rest(stream)
        for plain in half_open:
            assert await rest(plain) == b""
        await all_gone(server)


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(100)]
)
async def test_plain_text_ends_its_connection_and_no_other(tls: ServerTls, authority: Authority, said: bytes) -> None:
    async with serving(tls, idle_seconds=600) as server, connected(server, authority.trusting()) as stream:
        async with await trio.open_tcp_stream(*server.address) as plain:
            await plain.send_all(said)
            assert b"HTTP" not in await rest(plain)
        await get(stream, headers="Connection: close\r\n")
        assert b"https /" in await rest(stream)


async def test_a_client_that_trusts_someone_else_ends_its_connection_alone(
    tls: ServerTls, authority: Authority, tmp_path: Path
) -> None:
    async with serving(tls, idle_seconds=600) as server, connected(server, authority.trusting()) as stream:
        with pytest.raises(trio.BrokenResourceError):
            async with connected(server, Authority(tmp_path / "other").trusting()):
                pass
        with trio.fail_after(PATIENCE):
            while server.connections > 1:
                await trio.sleep(0.005)
        await get(stream)
        assert await stream.receive_some(100)


async def test_a_client_that_stops_reading_is_cut_off_and_hurts_nobody(tls: ServerTls, authority: Authority) -> None:
    context = authority.trusting()
    async with (
        serving(tls, send_seconds=0.2, linger_seconds=0.05) as server,
        connected(server, context) as stalled,
        connected(server, context) as other,
    ):
        await get(stalled, "/large")
        await get(other)
        assert await other.receive_some(100)
        with trio.fail_after(PATIENCE):
            while server.connections > 1:
                await trio.sleep(0.005)


async def test_a_refusal_reaches_a_client_that_is_still_sending(tls: ServerTls, authority: Authority, api: Api) -> None:
    async with (
        serving(tls, api.app, linger_seconds=PATIENCE) as server,
        connected(server, authority.trusting(), lenient=True) as stream,
    ):
        await stream.send_all(b"POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"x" * 2_000_000)
            received = await rest(stream)
    assert received.startswith(b"HTTP/1.1 413")


async def test_a_stop_closes_the_idle_and_the_half_open_at_once(tls: ServerTls, authority: Authority) -> None:
    async with AsyncExitStack() as clients:
        async with serving(tls, drain_seconds=PATIENCE) as server:
            idle = await clients.enter_async_context(connected(server, authority.trusting()))
            half_open = await clients.enter_async_context(await trio.open_tcp_stream(*server.address))
            with trio.fail_after(PATIENCE):
                while server.connections < 2:
                    await trio.sleep(0.005)
            began = trio.current_time()
        assert trio.current_time() - began < PATIENCE / 2
        assert await rest(half_open) == b""
        with pytest.raises(trio.BrokenResourceError):
            await idle.receive_some(1)


@pytest.mark.parametrize(("seconds", "header"), [(0, b""), (86_400, b"strict-transport-security: max-age=86400\r\n")])
async def test_browsers_are_held_to_https_if_the_settings_say_so(
    tls: ServerTls, authority: Authority, api: Api, seconds: int, header: bytes
) -> None:
    app = make_app(replace(api.services, strict_transport_seconds=seconds), api.web_root)
    async with serving(tls, app) as server, connected(server, authority.trusting()) as stream:
        await get(stream, "/", "Connection: close\r\n")
        head = (await rest(stream)).lower()
    assert header in head
    assert (b"strict-transport" in head) == bool(seconds)
    assert "Strict-Transport-Security" not in (await api.call("GET", "/")).headers  # which came by plain text
