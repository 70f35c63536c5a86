"""Browsers' sessions over real sockets: accepted and rejected clients, ends of connections, and undisturbed others."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_network
from itertools import count

import pytest
import trio

from messaging.gateway.transports.client_stream import ClientStream
from messaging.gateway.transports.connection import ConnectionLost
from messaging.gateway.transports.messages import MessageReader
from messaging.gateway.transports.websocket import CHECKS_PER_HEARTBEAT, MAX_ITEMS, SHORT_FRAME, WebSocketTransport
from shared.configuration import LiveConfiguration
from shared.net.admission import SPARE, ConnectionBudget, ConnectionLimits
from shared.net.turns import MESSAGE_SECONDS, TURN_SECONDS, Turn, Turns
from tests.messaging.gateway.browsers import (
    BINARY,
    CLOSE,
    FIN,
    PING,
    PONG,
    TEXT,
    Browser,
    Frame,
    Server,
    Tls,
    close,
    connected,
    frame,
    handshake,
    request,
    serving,
    signed_in,
    text,
    until_closed,
)
from tests.messaging.gateway.harness import ANN, BEN, PATIENCE, Platform
from tests.waiting import counting_passes

MAX_FRAME = 2_048
SESSION_PING = json.dumps({"ping": {"payload": "aGk="}}).encode()
"""A frame of the session that is answered at once."""


@pytest.fixture
async def server(platform: Platform) -> AsyncIterator[Server]:
    async with serving(platform, LiveConfiguration(max_frame_bytes=MAX_FRAME)) as opened:
        yield opened


@pytest.fixture(params=["plain", "tls"])
def plain_or_tls(request: pytest.FixtureRequest, tls: Tls) -> Tls | None:
    return tls if request.param == "tls" else None


@asynccontextmanager
async def undisturbed(server: Server) -> AsyncIterator[None]:
    """Ann's session responds all the while."""
    async with signed_in(server, ANN) as ann, trio.open_nursery() as nursery:

        async def ping_forever() -> None:
            while True:
                await ann.ping()
                await trio.sleep(0.01)

        nursery.start_soon(ping_forever)
        yield
        nursery.cancel_scope.cancel()


# ---- sessions


@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_two_browsers_chat_in_json(platform: Platform, tls: Tls, version: ssl.TLSVersion | None) -> None:
    if version:
        tls.client.maximum_version = version
    body = "hé <b>" + "x" * 16_000
    async with (
        serving(platform, tls=tls if version else None) as server,
        signed_in(server, ANN) as ann,
        signed_in(server, BEN) as ben,
    ):
        for number in range(20):
            accepted = await ann.send_text(number, BEN, body)
            event = await ben.receive()
            assert event["sequence"] == str(number + 2)
            assert event["event"]["message"] == {
                "message_id": accepted["event_id"],
                "chat_id": "d-1-2",
                "sender_id": "1",
                "client_message_id": str(number),
                "text": {"body": body},
            }


@pytest.mark.parametrize("sent", [b"{", b'{"nothing":1}'])
async def test_a_malformed_frame_is_refused_and_the_session_lives(server: Server, sent: bytes) -> None:
    async with signed_in(server, ANN) as ann:
        await ann.send(frame(TEXT, sent))
        assert (await ann.receive())["refused"]["code"] == "malformed"
        await ann.ping()


async def test_frames_right_after_the_request_are_received_byte_by_byte(server: Server) -> None:
    sign_in = text(authenticate={"access_token": await server.platform.token(ANN)})
    async with handshake(server, request() + frame(PING, b"early") + sign_in) as (stream, _):
        client = Browser(stream)
        assert (await client.next()) == Frame(PONG, b"early", FIN | PONG, False)
        assert "welcome" in await client.receive()
        for byte in frame(TEXT, SESSION_PING):
            await client.send(bytes([byte]))
        assert "pong" in await client.receive()


async def test_no_frame_of_the_server_is_masked_compressed_or_fragmented(server: Server) -> None:
    compressed = request(Sec_WebSocket_Extensions="permessage-deflate")
    async with handshake(server, compressed) as (stream, head):
        assert b"extensions" not in head.lower()
        client = Browser(stream)
        await client.send(
            text(authenticate={"access_token": await server.platform.token(ANN)}), frame(PING), close(1000)
        )
        frames = await client.until_end()
        assert [each.first_byte for each in frames][-1] == FIN | CLOSE
        assert {each.first_byte & 0xF0 for each in frames} == {FIN}
        assert not any(each.is_masked for each in frames)


# ---- handshakes


@pytest.mark.parametrize(("sent", "status"), [(request("/elsewhere"), 404), (request(Cookie="x" * 200_000), 431)])
async def test_a_rejected_client_reads_the_response(server: Server, sent: bytes, status: int) -> None:
    async with handshake(server, sent) as (stream, head):
        assert int(head.split()[1]) == status
        assert isinstance(stream, trio.SocketStream)
        await stream.send_eof()
        await until_closed(stream)


@pytest.mark.parametrize("offered", [["http/1.1"], ["h2", "http/1.1"]])
async def test_clients_may_offer_protocols(platform: Platform, tls: Tls, offered: list[str]) -> None:
    tls.client.set_alpn_protocols(offered)
    async with serving(platform, tls=tls) as server, signed_in(server, ANN) as ann:
        await ann.ping()


async def test_a_client_without_tls_is_ended(platform: Platform, tls: Tls) -> None:
    async with serving(platform, tls=tls) as server, await server.connect_plain() as stream:
        await stream.send_all(request())
        assert b"101" not in await until_closed(stream)


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /session HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01"])
async def test_a_handshake_that_does_not_end_is_ended(
    platform: Platform, tls: Tls, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("messaging.gateway.transports.websocket.HANDSHAKE_DEADLINE", 0.1)
    async with (
        serving(platform, tls=tls if sent[:1] == b"\x16" else None) as server,
        await server.connect_plain() as stream,
    ):
        await stream.send_all(sent)
        await until_closed(stream)
        await until_no_handshakes(server)


async def until_no_handshakes(server: Server) -> None:
    with trio.fail_after(PATIENCE):
        while server.transport.handshakes:
            await trio.sleep(0.005)


async def test_a_handshake_of_one_byte_at_a_time_has_the_same_deadline(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.gateway.transports.websocket.HANDSHAKE_DEADLINE", 0.3)
    async with serving(platform) as server, await server.connect_plain() as stream, trio.open_nursery() as nursery:

        async def trickle() -> None:
            with suppress(trio.BrokenResourceError):  # the server has closed
                for byte in request(Cookie="x" * 10_000):
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.01)

        nursery.start_soon(trickle)
        assert await until_closed(stream) == b""
        nursery.cancel_scope.cancel()


async def test_endless_headers_take_no_memory(platform: Platform) -> None:
    async with serving(platform) as server, undisturbed(server):
        async with await server.connect_plain() as stream:
            await stream.send_all(b"GET /session HTTP/1.1\r\n")
            with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - sooner or later
                while True:
                    await stream.send_all(b"X-Header: " + b"x" * 1_000 + b"\r\n")
        await until_no_handshakes(server)


async def test_unfinished_handshakes_in_all_slots_do_not_block_a_new_client(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All slots are taken all the time, and a quick client still connects: the oldest handshake is ended."""
    monkeypatch.setattr("messaging.gateway.transports.websocket.HANDSHAKE_DEADLINE", float("inf"))
    async with serving(platform) as server, AsyncExitStack() as stack:
        limit = server.transport.max_handshakes = 200
        count = 2 * limit
        streams: list[trio.SocketStream] = []
        async with trio.open_nursery() as nursery:

            async def begin() -> None:
                for number in range(count // 10):
                    stream = await server.connect_plain()
                    stack.push_async_callback(trio.aclose_forcefully, stream)
                    await stream.send_all(request()[: number % 100])
                    streams.append(stream)

            for _ in range(10):
                nursery.start_soon(begin)
        assert len(streams) == count
        with trio.fail_after(PATIENCE):
            while server.transport.handshakes < limit:
                await trio.sleep(0.005)
        async with signed_in(server, ANN) as ann:
            await ann.ping()
        await until_closed(streams[0])


async def test_silent_sessions_of_an_address_keep_out_no_client_and_end_no_session(server: Server) -> None:
    server.transport.admission = ConnectionBudget(ConnectionLimits(per_address=5)).add_listener()
    async with AsyncExitStack() as stack, signed_in(server, ANN) as ann:
        silent = [await stack.enter_async_context(connected(server)) for _ in range(10)]
        async with signed_in(server, BEN) as ben:
            for each in (ann, ben):
                await each.ping()
        await until_closed(silent[0].stream)
        assert server.transport.admission.open <= 2 + 5


async def test_clients_behind_a_trusted_proxy_are_bounded_by_their_own_addresses(server: Server) -> None:
    budget = ConnectionBudget(ConnectionLimits(per_address=1))
    server.transport.admission = budget.add_listener(trusted_proxies=[ip_network("127.0.0.0/8")])
    async with AsyncExitStack() as stack:
        first, other, _ = [
            (await stack.enter_async_context(handshake(server, request(X_Forwarded_For=client))))[0]
            for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1")
        ]
        await until_closed(first)
        other_browser = Browser(other)
        await other_browser.send(text(authenticate={"access_token": await server.platform.token(ANN)}))
        assert "welcome" in await other_browser.receive()


async def test_a_full_gateway_accepts_no_client_until_one_disconnects(server: Server) -> None:
    server.transport.admission = ConnectionBudget(total=SPARE + 1).add_listener()
    async with signed_in(server, ANN) as ann:
        async with handshake(server) as (_, head):
            assert head.startswith(b"HTTP/1.1 503 ")
        await ann.ping()
    await server.until_sessions(0)
    async with handshake(server) as (_, head):
        assert head.startswith(b"HTTP/1.1 101 ")


# ---- faults

FLOOD = frame(PING) * 20_000
"""More than a second's frames in one second, although the server is descheduled in between."""


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, SESSION_PING, mask=None), 1002),
        (frame(BINARY, SESSION_PING), 1003),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (FLOOD, 1008),
        (frame(TEXT, b"x" * (MAX_FRAME + 1)), 1009),
        (frame(TEXT, b"x" * 1_000_000), 1009),  # a socket that is closed with unread data would lose the close
    ],
    ids=["unmasked", "binary", "not UTF-8", "flood", "too big", "much too big"],
)
async def test_a_fault_is_closed_with_its_code_and_alone(server: Server, sent: bytes, code: int) -> None:
    async with signed_in(server, BEN) as ben:
        async with signed_in(server, ANN) as client:
            await client.send(sent, frame(TEXT, SESSION_PING))
            frames = await client.until_end()
            assert [each.opcode for each in frames if each.opcode != PONG] == [CLOSE], "frames after a fault count"
            assert int.from_bytes(frames[-1].payload[:2], "big") == code
        await server.until_sessions(1)
        await ben.ping()


async def test_a_fault_under_tls_is_closed_with_its_code_and_tls_is_ended_in_order(
    platform: Platform, tls: Tls
) -> None:
    async with serving(platform, tls=tls) as server:
        stream = await server.connect()
        await stream.send_all(request() + frame(TEXT, b"\xff") + b"x" * 100_000)
        received = b""
        with trio.fail_after(PATIENCE):
            while data := await stream.receive_some():  # an end without close_notify would raise
                received += data
        head, _, frames = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert frames[0] == FIN | CLOSE
        assert frames[2:4] == (1007).to_bytes(2, "big")
        await stream.aclose()
        await server.until_sessions(0)


async def test_a_client_that_pings_and_never_reads_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pongs fill the socket, then nothing more is read from it, and in the end its connection is lost."""
    monkeypatch.setattr("messaging.gateway.transports.websocket.SEND_DEADLINE", 0.05)
    ours, theirs = trio.socket.socketpair()
    stream = ClientStream(trio.SocketStream(ours))
    transport = WebSocketTransport(stream, MessageReader(1_000), frame(PING), Turn())
    assert not stream.send_now(b"x" * 4_000_000)
    with trio.fail_after(PATIENCE), pytest.raises(ConnectionLost):
        await transport.receive()
    stream.close()
    theirs.close()


async def test_a_handshake_waits_for_the_turn_of_its_address(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    turns, waits, may_begin = Turns(), count(1), trio.Event()
    server.transport.admission = ConnectionBudget(turns=turns).add_listener()
    turn = turns.of("127.0.0.2")

    async def wait() -> None:
        if next(waits) > 1:  # the first is that of the connection
            await may_begin.wait()

    monkeypatch.setattr(turn, "wait", wait)
    async with await trio.open_tcp_stream("127.0.0.1", server.port, local_address="127.0.0.2") as waiting:
        await waiting.send_all(request())
        async with connected(server):
            pass
        with trio.move_on_after(0.05) as scope:
            await waiting.receive_some()
        assert scope.cancelled_caught
        may_begin.set()
        assert (await waiting.receive_some()).startswith(b"HTTP/1.1 101")


async def test_a_list_with_more_items_than_any_valid_one_is_refused_by_its_name(platform: Platform) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann:
        await ann.send(text(send={"files": [{}] * (MAX_ITEMS + 1)}))
        refused = (await ann.receive())["refused"]
        assert (refused["code"], refused["field"]) == ("malformed", "send.files")


@pytest.mark.parametrize(
    ("received", "seconds", "turns"),
    [
        (frame(PING) * 900, TURN_SECONDS, 5),  # slices
        (frame(TEXT, SESSION_PING) * 900, MESSAGE_SECONDS, 900 * MESSAGE_SECONDS / TURN_SECONDS),
        (text(ping={"payload": "A" * SHORT_FRAME}) * 90, TURN_SECONDS, 90),
    ],
    ids=["pings", "messages", "long messages"],
)
async def test_clients_of_one_address_take_turns(
    received: bytes, seconds: float, turns: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pings are counted by the time of their slices, messages with an estimate, and long ones by the time of their
    decoding."""
    monkeypatch.setattr("shared.net.turns.thread_time", count(step=seconds).__next__)
    turn, clients = Turn(), 10

    async def read() -> None:
        ours, theirs = trio.socket.socketpair()
        stream = ClientStream(trio.SocketStream(ours))
        transport = WebSocketTransport(stream, MessageReader(1_000), received + frame(CLOSE), turn)
        while await transport.receive():
            pass
        stream.close()
        theirs.close()

    async with counting_passes() as passes, trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(read)
    assert passes.passed >= int(clients * turns) - 1  # the first turn begins at once


# ---- dead and slow clients


async def test_a_client_that_vanishes_leaves_nothing(server: Server) -> None:
    for _ in range(20):
        async with connected(server) as client:
            await server.until_sessions(1)
            await trio.aclose_forcefully(client.stream)
        await server.until_sessions(0)


async def test_a_client_that_never_reads_is_ended_and_others_are_served(
    platform: Platform, plain_or_tls: Tls | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket fills, its queue fills, events are dropped for it alone, and in the end it is closed."""
    monkeypatch.setattr("messaging.gateway.transports.connection.SEND_DEADLINE", 0.5)
    async with (
        serving(platform, LiveConfiguration(session_queue_frames=50), tls=plain_or_tls) as server,
        signed_in(server, ANN) as ann,
        never_reading(server, BEN),
    ):
        number = 0
        with trio.fail_after(PATIENCE):
            while len(server.gateway.registry) == 2:
                number += 1
                await ann.send_text(number, BEN, "x" * 15_000)


@asynccontextmanager
async def never_reading(server: Server, user_id: int) -> AsyncIterator[None]:
    """A session whose client reads nothing at all."""
    stream = await server.connect()
    await stream.send_all(request() + text(authenticate={"access_token": await server.platform.token(user_id)}))
    with trio.fail_after(PATIENCE):
        while not server.gateway.registry.of(user_id):
            await trio.sleep(0.005)
    try:
        yield
    finally:
        await trio.aclose_forcefully(stream)


async def test_a_client_that_never_reads_is_gone_soon_after_its_session_has_ended(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.gateway.transports.connection.GOODBYE_DEADLINE", 0.2)
    async with serving(platform) as server, signed_in(server, ANN) as ann, never_reading(server, BEN):
        for number in range(400):
            await ann.send_text(number, BEN, "x" * 15_000)
        (session,) = server.gateway.registry.of(BEN)
        session.reconnect(0)
        await server.until_sessions(1)


async def test_a_silent_client_is_pinged_and_ended_by_the_second_heartbeat(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library answers pings by itself. This client does not, nor does it answer the close."""
    monkeypatch.setattr("messaging.gateway.transports.websocket.CLOSE_DEADLINE", 0.1)
    async with serving(platform, LiveConfiguration(heartbeat_seconds=1)) as server, undisturbed(server):
        async with signed_in(server, BEN) as silent:
            began = trio.current_time()
            *pings, goodbye, closed = await silent.until_end()
            assert trio.current_time() - began > 1
        # One at each check of the second heartbeat but the last.
        assert [(each.opcode, each.payload) for each in pings] == [(PING, b"")] * (CHECKS_PER_HEARTBEAT - 1)
        assert b"Nothing was received" in goodbye.payload
        assert closed.opcode == CLOSE
        await server.until_sessions(1)


async def test_a_client_that_answers_pings_is_kept(platform: Platform) -> None:
    async with serving(platform, LiveConfiguration(heartbeat_seconds=1)) as server, signed_in(server, BEN) as client:
        for _ in range(2):
            received = await client.next()
            assert received is not None
            assert received.opcode == PING
            await client.send(frame(PONG))
        await client.send(text(ping={}))
        while (answer := await client.next()) is not None and answer.opcode == PING:
            pass
        assert answer is not None
        assert answer.opcode == TEXT


# ---- the end


async def test_a_close_is_answered_with_its_code_and_later_frames_are_not(server: Server) -> None:
    payload = (4321).to_bytes(2, "big") + "because ✓".encode()
    async with signed_in(server, ANN) as client:
        await client.send(frame(CLOSE, payload), frame(TEXT, SESSION_PING))
        assert await client.until_end() == [Frame(CLOSE, payload, FIN | CLOSE, False)]
    await server.until_sessions(0)


async def test_the_server_waits_for_the_answer_to_its_close(server: Server) -> None:
    async with connected(server) as client:
        await client.send(frame(TEXT, SESSION_PING))
        assert (await client.receive())["goodbye"]["code"] == "unauthenticated"
        assert (await client.next()) == Frame(CLOSE, (1000).to_bytes(2, "big"), FIN | CLOSE, False)
        await client.send(frame(TEXT, SESSION_PING), frame(PING))
        with trio.move_on_after(0.1) as scope:
            await client.next()
        assert scope.cancelled_caught, "the connection is open, and the client's frames are discarded"
        await client.send(close(1000))
        assert await client.next() is None


async def test_a_close_that_is_not_answered_ends_the_connection_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.gateway.transports.websocket.CLOSE_DEADLINE", 0.1)
    async with connected(server) as client:
        await client.send(frame(TEXT, SESSION_PING))
        await server.until_sessions(0)
        assert b"unauthenticated" in await until_closed(client.stream)


async def test_a_client_that_ends_without_a_close_is_ended(server: Server) -> None:
    async with signed_in(server, ANN) as client:
        assert isinstance(client.stream, trio.SocketStream)
        await client.stream.send_eof()
        await client.until_end()
    await server.until_sessions(0)


async def test_a_gateway_that_stops_is_going_away(platform: Platform, plain_or_tls: Tls | None) -> None:
    async with (
        serving(platform, tls=plain_or_tls) as server,
        signed_in(server, ANN) as ann,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.gateway.drain)
        assert "reconnect" in await ann.receive()
        assert "goodbye" in await ann.receive()
        closed = await ann.next()
        assert closed is not None
        assert (closed.opcode, closed.payload[:2]) == (CLOSE, (1001).to_bytes(2, "big"))
        await ann.send(close(1001))
