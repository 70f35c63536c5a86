"""The HTTP server over TLS: handshakes, ALPN, and clients that break off. `test_server.py` has the common promises."""

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from bff.app import make_app
from shared.net.tls import ServerTls
from tests.bff.conftest import Api
from tests.bff.http.connections import NEVER, PATIENCE, connected, serving, until_connections
from tools.launch.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def tls(authority: Authority) -> ServerTls:
    issued = authority.issue()
    return ServerTls(issued.settings(), issued.certificate)


async def test_the_application_sees_https_and_the_client(tls: ServerTls, authority: Authority) -> None:
    async with serving(tls=tls) as server, connected(server, authority.trusting()) as client:
        await client.get("/first")
        answers = await client.last_get("/last")
        assert b"https 127.0.0.1 /first" in answers
        assert b"https 127.0.0.1 /last" in answers


@pytest.mark.parametrize(("offered", "chosen"), [(("h2", "http/1.1"), "http/1.1"), (("h2",), None)])
async def test_http2_is_not_chosen(
    tls: ServerTls, authority: Authority, offered: tuple[str, ...], chosen: str | None
) -> None:
    async with serving(tls=tls) as server, connected(server, authority.trusting(*offered)) as client:
        assert isinstance(client.stream, trio.SSLStream)
        assert client.stream.selected_alpn_protocol() == chosen
        assert (await client.last_get()).startswith(b"HTTP/1.1 200")


async def test_the_end_of_a_connection_is_also_sent_in_tls(tls: ServerTls, authority: Authority) -> None:
    async with (
        serving(tls=tls, linger_seconds=PATIENCE) as server,
        connected(server, authority.trusting()) as client,
    ):
        assert b"https" in await client.last_get()


async def test_a_client_that_disconnects_without_closing_tls_is_gone(tls: ServerTls, authority: Authority) -> None:
    async with serving(tls=tls) as server:
        async with connected(server, authority.trusting()) as client:
            await client.get()
            await client.until(b"200")
        await until_connections(server, 0)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "begun"])
async def test_a_handshake_that_does_not_end_is_cut_off(tls: ServerTls, authority: Authority, sent: bytes) -> None:
    async with serving(tls=tls, idle_seconds=1.5) as server, AsyncExitStack() as clients:
        half_open = [await clients.enter_async_context(connected(server)) for _ in range(50)]
        for plain in half_open:
            await plain.send(sent)
        async with connected(server, authority.trusting()) as client:
            assert b"https" in await client.last_get()
        for plain in half_open:
            assert await plain.rest() == b""
        await until_connections(server, 0)


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(100)]
)
async def test_plain_text_ends_its_connection_and_no_other(tls: ServerTls, authority: Authority, sent: bytes) -> None:
    async with serving(tls=tls, idle_seconds=NEVER) as server, connected(server, authority.trusting()) as client:
        async with connected(server) as plain:
            await plain.send(sent)
            assert b"HTTP" not in await plain.rest()
        assert b"https" in await client.last_get()


async def test_a_client_with_another_authority_ends_its_connection_alone(
    tls: ServerTls, authority: Authority, tmp_path: Path
) -> None:
    async with serving(tls=tls, idle_seconds=NEVER) as server, connected(server, authority.trusting()) as client:
        with pytest.raises(trio.BrokenResourceError):
            async with connected(server, Authority(tmp_path / "other").trusting()):
                pass
        await until_connections(server, 1)
        assert b"https" in await client.last_get()


@pytest.mark.parametrize(("seconds", "header"), [(0, b""), (86_400, b"strict-transport-security: max-age=86400\r\n")])
async def test_browsers_are_held_to_https_if_the_settings_say_so(
    tls: ServerTls, authority: Authority, api: Api, seconds: int, header: bytes
) -> None:
    app = make_app(replace(api.services, strict_transport_seconds=seconds), api.web_root)
    async with serving(app, tls) as server, connected(server, authority.trusting()) as client:
        head = (await client.last_get()).lower()
    assert header in head
    assert (b"strict-transport" in head) == bool(seconds)
    assert "Strict-Transport-Security" not in (await api.call("GET", "/")).headers  # which came by plain text
