"""Browsers' sessions under TLS: the same protocol, and a handshake of its own that has the same deadline."""

import ssl

import pytest
import trio
import trustme

from tests.messaging.gateway.browsers import (
    CLOSE,
    PATIENCE,
    TEXT,
    Server,
    frame,
    gone,
    hear,
    heard_close,
    request,
    say,
    serving,
    signed_in,
    until_closed,
)
from tests.messaging.gateway.harness import Platform

ANN, BEN = 1, 2


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def open_raw(server: Server, tls: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    """TLS that is agreed on, and nothing said."""
    stream = trio.SSLStream(await server.connect(), tls, server_hostname="127.0.0.1")
    with trio.fail_after(PATIENCE):
        await stream.do_handshake()
    return stream


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_two_browsers_chat(
    platform: Platform, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client_tls.maximum_version = version
    body = "x" * 16_000
    async with (
        serving(platform, tls=server_tls) as server,
        signed_in(server, ANN, client_tls) as ann,
        signed_in(server, BEN, client_tls) as ben,
    ):
        for number in range(20):
            await say(ann, send={"client_message_id": str(number), "recipient_id": "2", "text": {"body": body}})
            assert (await hear(ann))["accepted"]["client_message_id"] == str(number)
            assert (await hear(ben))["event"]["message"]["text"]["body"] == body


@pytest.mark.parametrize("offered", [[], ["http/1.1"], ["h2", "http/1.1"]])
async def test_clients_may_offer_protocols_or_not(
    platform: Platform, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, offered: list[str]
) -> None:
    if offered:
        client_tls.set_alpn_protocols(offered)
    async with serving(platform, tls=server_tls) as server, signed_in(server, ANN, client_tls) as ann:
        await say(ann, ping={})
        assert "pong" in await hear(ann)


async def test_a_client_that_never_reads_is_ended_and_others_are_served(
    platform: Platform, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.gateway.transports.connection.SEND_DEADLINE", 0.5)
    async with serving(platform, tls=server_tls) as server, signed_in(server, ANN, client_tls) as ann:
        stalled = await open_raw(server, client_tls)
        sign_in = f'{{"authenticate": {{"access_token": "{await server.token(BEN)}"}}}}'
        await stalled.send_all(request() + frame(TEXT, sign_in.encode()))
        await gone(server, 2)
        with trio.fail_after(PATIENCE):
            while len(server.gateway.registry.of(BEN)) == 0:
                await trio.sleep(0.005)
        number = 0
        with trio.fail_after(PATIENCE):
            while len(server.gateway.registry) == 2:
                number += 1
                text = {"body": "x" * 15_000}
                await say(ann, send={"client_message_id": str(number), "recipient_id": "2", "text": text})
                assert "accepted" in await hear(ann)
        await trio.aclose_forcefully(stalled)


async def test_a_fault_is_closed_with_its_code_and_tls_is_ended_in_order(
    platform: Platform, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with serving(platform, tls=server_tls) as server:
        stream = await open_raw(server, client_tls)
        await stream.send_all(request() + frame(TEXT, b"\xff") + b"x" * 100_000)
        answer = b""
        with trio.fail_after(PATIENCE):
            while data := await stream.receive_some():  # an end without TLS's goodbye would raise
                answer += data
        head, _, frames = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert frames[0] == 0x80 | CLOSE
        assert frames[2:4] == (1007).to_bytes(2, "big")
        await stream.aclose()
        await gone(server)


async def test_a_client_without_tls_is_ended(platform: Platform, server_tls: ssl.SSLContext) -> None:
    async with serving(platform, tls=server_tls) as server, await server.connect() as stream:
        await stream.send_all(request())
        assert b"101" not in await until_closed(stream)


async def test_a_handshake_of_tls_that_does_not_end_is_ended(
    platform: Platform, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.gateway.transports.websocket.HANDSHAKE_DEADLINE", 0.1)
    async with serving(platform, tls=server_tls) as server, await server.connect() as stream:
        await stream.send_all(b"\x16\x03\x01")
        await until_closed(stream)


async def test_a_gateway_that_stops_says_so(
    platform: Platform, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with (
        serving(platform, tls=server_tls) as server,
        signed_in(server, ANN, client_tls) as ann,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.gateway.drain)
        assert "reconnect" in await hear(ann)
        assert await heard_close(ann) == 1001
