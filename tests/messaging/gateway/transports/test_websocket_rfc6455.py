"""RFC 6455 on raw sockets, against the real server: each fault has its close and an orderly end, and harms nobody."""

import json
from collections.abc import AsyncIterator

import pytest
import trio

from shared.configuration import LiveConfiguration
from tests.messaging.gateway.browsers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PATIENCE,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Frame,
    RawClient,
    Server,
    close,
    frame,
    gone,
    handshake,
    raw_client,
    raw_session,
    request,
    serving,
    text,
    until_closed,
)
from tests.messaging.gateway.harness import Platform

ANN, BEN = 1, 2
MAX_FRAME = 2_048
ASK = json.dumps({"ping": {"payload": "aGk="}}).encode()
"""A frame of the session that is answered at once."""


@pytest.fixture
async def server(platform: Platform) -> AsyncIterator[Server]:
    async with serving(platform, LiveConfiguration(max_frame_bytes=MAX_FRAME)) as opened:
        yield opened


async def pongs(client: RawClient) -> None:
    assert (await client.hear())["pong"] == {"payload": "aGk="}


# ---- messages in pieces


async def test_a_message_may_come_in_many_fragments_empty_ones_too(server: Server) -> None:
    async with raw_session(server, ANN) as client:
        middle = [frame(CONTINUATION, ASK[index : index + 1], flags=0) for index in range(1, len(ASK))]
        empty = [frame(CONTINUATION, flags=0)] * 50
        await client.send(frame(TEXT, ASK[:1], flags=0), *middle, *empty, frame(CONTINUATION))
        await pongs(client)


async def test_a_character_may_be_cut_between_fragments(server: Server) -> None:
    said = json.dumps(
        {"send": {"client_message_id": "a", "recipient_id": "2", "text": {"body": "👍"}}}, ensure_ascii=False
    )
    async with raw_session(server, ANN) as client, raw_session(server, BEN) as ben:
        data = said.encode()
        cut = data.index("👍".encode()) + 2
        await client.send(frame(TEXT, data[:cut], flags=0), frame(CONTINUATION, data[cut:]))
        assert "accepted" in await client.hear()
        assert (await ben.hear())["event"]["message"]["text"] == {"body": "👍"}


async def test_control_frames_may_come_between_fragments(server: Server) -> None:
    async with raw_session(server, ANN) as client:
        await client.send(frame(TEXT, ASK[:5], flags=0), frame(PING, b"now"))
        answer = await client.next()
        assert answer == Frame(PONG, b"now", FIN | PONG, False)
        await client.send(frame(PONG, b"unasked"), frame(CONTINUATION, ASK[5:]))
        await pongs(client)


async def test_a_frame_may_come_byte_by_byte(server: Server) -> None:
    async with raw_session(server, ANN) as client:
        for byte in frame(PING, b"x") + frame(TEXT, ASK):
            await client.send(bytes([byte]))
        assert (await client.next()) == Frame(PONG, b"x", FIN | PONG, False)
        await pongs(client)


async def test_frames_right_behind_the_request_are_heard(server: Server) -> None:
    sign_in = text(authenticate={"access_token": await server.token(ANN)})
    async with handshake(server, request() + frame(PING, b"early") + sign_in) as (stream, _):
        client = RawClient(stream)
        assert (await client.next()) == Frame(PONG, b"early", FIN | PONG, False)
        assert "welcome" in await client.hear()


async def test_a_ping_of_the_largest_size_comes_back_whole(server: Server) -> None:
    async with raw_session(server, ANN) as client:
        await client.send(frame(PING, b"p" * 125))
        assert (await client.next()) == Frame(PONG, b"p" * 125, FIN | PONG, False)


async def test_nothing_that_the_server_sends_is_masked_compressed_or_fragmented(server: Server) -> None:
    compressed = request(Sec_WebSocket_Extensions="permessage-deflate")
    async with handshake(server, compressed) as (stream, head):
        assert b"extensions" not in head.lower()
        client = RawClient(stream)
        await client.send(text(authenticate={"access_token": await server.token(ANN)}), frame(PING), close(1000))
        frames = await client.until_end()
        assert [each.first_byte for each in frames][-1] == FIN | CLOSE
        assert {each.first_byte & 0xF0 for each in frames} == {FIN}
        assert not any(each.is_masked for each in frames)


# ---- faults

FLOOD = 20_000
"""Frames: of as many, more than may come in a second come in one, wherever between them the server is kept waiting."""

FAULTS = {
    "unmasked": (frame(TEXT, ASK, mask=None), 1002),
    "unmasked ping": (frame(PING, mask=None), 1002),
    "RSV1, as of compression that was not agreed on": (frame(TEXT, ASK, flags=FIN | RSV1), 1002),
    "RSV2": (frame(TEXT, ASK, flags=FIN | RSV2), 1002),
    "RSV3 on a control frame": (frame(PING, flags=FIN | RSV3), 1002),
    "opcode 3": (frame(3, ASK), 1002),
    "opcode 7, which is for data": (frame(7), 1002),
    "opcode 11, which is for control": (frame(11), 1002),
    "opcode 15": (frame(15, b"x"), 1002),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a close of 126 bytes": (close(1000, b"x" * 124), 1002),
    "a ping in fragments": (frame(PING, b"x", flags=0), 1002),
    "a close in fragments": (frame(CLOSE, flags=0), 1002),
    "a continuation of nothing": (frame(CONTINUATION, ASK), 1002),
    "a message within a message": (frame(TEXT, b"{", flags=0) + frame(TEXT, ASK), 1002),
    "a length in more bytes than it needs": (b"\x81\xfe\x00\x05" + bytes(4) + b"hello", 1002),
    "a length of 2^63": (b"\x81\xff" + (1 << 63).to_bytes(8, "big") + bytes(4), 1002),
    "a binary message": (frame(BINARY, ASK), 1003),
    "a binary message in fragments": (frame(BINARY, b"{", flags=0), 1003),
    "no UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "UTF-8 that ends in the middle": (frame(TEXT, "é".encode()[:1]), 1007),
    "UTF-8 of half a pair": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "UTF-8 in more bytes than it needs": (frame(TEXT, b"\xc0\xaf"), 1007),
    "a fragment that is no UTF-8": (frame(TEXT, b"\xff", flags=0), 1007),
    "too big": (frame(TEXT, b"x" * (MAX_FRAME + 1)), 1009),
    "too big in fragments": (frame(TEXT, b"x" * MAX_FRAME, flags=0) + frame(CONTINUATION, b"x"), 1009),
    "a flood of pings": (frame(PING) * FLOOD, 1008),
    "a flood of empty fragments": (frame(TEXT, flags=0) + frame(CONTINUATION, flags=0) * FLOOD, 1008),
    "a close with half a code": (frame(CLOSE, b"\x03"), 1002),
    "a close with a reason that is no UTF-8": (close(1000, b"\xff"), 1007),
    **{
        f"a close with {code}": (close(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("name", FAULTS)
async def test_each_fault_is_closed_with_its_code_and_alone(server: Server, name: str) -> None:
    sent, code = FAULTS[name]
    async with raw_session(server, BEN) as ben:
        async with raw_session(server, ANN) as client:
            await client.send(sent, frame(TEXT, ASK))
            frames = await client.until_end()
            assert [each.opcode for each in frames if each.opcode != PONG] == [CLOSE], "nothing after a fault counts"
            assert int.from_bytes(frames[-1].payload[:2], "big") == code
            frames[-1].payload[2:].decode()
        await gone(server, 1)
        await ben.send(frame(TEXT, ASK))
        await pongs(ben)


async def test_what_came_before_a_fault_is_answered_first(server: Server) -> None:
    async with raw_session(server, ANN) as client:
        await client.send(frame(TEXT, ASK), frame(TEXT, b"\xff"))
        *_, last = await client.until_end()
        assert (last.opcode, last.payload[:2]) == (CLOSE, (1007).to_bytes(2, "big"))


async def test_a_fault_before_sign_in_is_closed_too(server: Server) -> None:
    async with raw_client(server) as client:
        await client.send(frame(TEXT, ASK, mask=None))
        assert await client.close_code() == 1002
    await gone(server)


async def test_a_length_of_exabytes_takes_no_room(server: Server) -> None:
    """It is refused once more has come than may, however much is announced."""
    async with raw_session(server, ANN) as client:
        await client.send(b"\x81\xff" + (1 << 62).to_bytes(8, "big") + bytes(4), b"x" * (MAX_FRAME + 1))
        assert await client.close_code() == 1009


async def test_a_client_that_sends_on_still_reads_why_it_was_closed(server: Server) -> None:
    """The rest of a frame that is too big is under way: a socket that is closed too soon would take the close along."""
    async with raw_session(server, ANN) as client:
        await client.send(frame(TEXT, b"x" * 1_000_000))
        assert await client.close_code() == 1009


# ---- the end


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
async def test_a_close_is_answered_with_its_code(server: Server, code: int) -> None:
    async with raw_session(server, ANN) as client:
        await client.send(close(code, "because ✓".encode()), frame(TEXT, ASK))
        assert await client.until_end() == [
            Frame(CLOSE, code.to_bytes(2, "big") + "because ✓".encode(), FIN | CLOSE, False)
        ]
    await gone(server)


async def test_a_close_without_a_code_is_answered_without_one(server: Server) -> None:
    async with raw_session(server, ANN) as client:
        await client.send(frame(CLOSE))
        assert await client.close_code() is None


async def test_the_server_waits_for_the_answer_to_its_close(server: Server) -> None:
    async with raw_client(server) as client:
        await client.send(frame(TEXT, ASK))
        assert (await client.hear())["goodbye"]["code"] == "unauthenticated"
        assert (await client.next()) == Frame(CLOSE, (1000).to_bytes(2, "big"), FIN | CLOSE, False)
        await client.send(frame(TEXT, ASK), frame(PING))
        with trio.move_on_after(0.1) as scope:
            await client.next()
        assert scope.cancelled_caught, "it is still open, and what is sent now is passed over"
        await client.send(close(1000))
        assert await client.next() is None


async def test_a_close_that_is_not_answered_ends_the_connection_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.gateway.transports.websocket.CLOSE_DEADLINE", 0.1)
    async with raw_client(server) as client:
        await client.send(frame(TEXT, ASK))
        await gone(server)
        assert b"unauthenticated" in await until_closed(client.stream)


async def test_a_client_that_ends_without_a_close_is_let_go(server: Server) -> None:
    async with raw_session(server, ANN) as client:
        assert isinstance(client.stream, trio.SocketStream)
        await client.stream.send_eof()
        await client.until_end()
    await gone(server)


async def test_a_second_request_on_the_same_connection_is_a_fault(server: Server) -> None:
    async with raw_session(server, ANN) as client:
        await client.send(request())
        assert await client.close_code() == 1002


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(), 101),
        (request("/elsewhere"), 404),
        (request(origin="http://evil.example"), 403),
        (request(Sec_WebSocket_Version="8"), 426),
        (request(Upgrade=None, Connection="close"), 426),
        (request(Cookie="x" * 200_000), 431),
        (request().replace(b"GET", b"PUT"), 405),
    ],
)
async def test_only_our_own_handshakes_are_taken(server: Server, asked: bytes, status: int) -> None:
    async with handshake(server, asked) as (stream, head):
        assert int(head.split()[1]) == status
        if status != 101:
            await stream.send_eof()
            with trio.fail_after(PATIENCE):
                while await stream.receive_some():
                    pass
