"""Browsers' sessions over real sockets: who is let in, what ends a connection, and who is not disturbed by that."""

import pytest
import trio

from shared.configuration import LiveConfiguration
from tests.messaging.gateway.browsers import (
    gone,
    hear,
    heard_close,
    open_connection,
    raw_client,
    raw_session,
    say,
    serving,
    signed_in,
)
from tests.messaging.gateway.harness import Platform

ANN, BEN = 1, 2


async def test_two_browsers_chat_in_json(platform: Platform) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann, signed_in(server, BEN) as ben:
        await say(ann, send={"client_message_id": "a", "recipient_id": "2", "text": {"body": "hé <b>"}})
        accepted = await hear(ann)
        event = await hear(ben)
        assert accepted["accepted"]["client_message_id"] == "a"
        assert event["sequence"] == "2"
        assert event["event"]["message"] == {
            "message_id": accepted["accepted"]["message_id"],
            "chat_id": "d-1-2",
            "sender_id": "1",
            "client_message_id": "a",
            "text": {"body": "hé <b>"},
        }


@pytest.mark.parametrize("frame", ["{", "[]", '{"send":{"text":5}}', '{"nothing":1}', "{}"])
async def test_a_malformed_frame_is_refused_and_the_session_lives(platform: Platform, frame: str) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann:
        await ann.send_message(frame)
        assert (await hear(ann))["refused"]["code"] == "malformed"
        await say(ann, ping={"payload": "aGk="})
        assert (await hear(ann))["pong"]["payload"] == "aGk="


async def test_an_oversized_frame_closes_that_connection_alone(platform: Platform) -> None:
    async with (
        serving(platform, LiveConfiguration(max_frame_bytes=2048)) as server,
        signed_in(server, BEN) as ben,
    ):
        async with signed_in(server, ANN) as ann:
            await ann.send_message("x" * 3000)
            assert await heard_close(ann) == 1009
        await gone(server, 1)
        await say(ben, ping={})
        assert "pong" in await hear(ben)


async def test_a_frame_before_authentication_is_answered_by_goodbye(platform: Platform) -> None:
    async with serving(platform) as server, open_connection(server) as connection:
        await say(connection, ping={})
        assert (await hear(connection))["goodbye"]["code"] == "unauthenticated"
        assert await heard_close(connection) == 1000


async def test_a_client_that_vanishes_leaves_nothing(platform: Platform) -> None:
    async with serving(platform) as server:
        for _ in range(20):
            async with raw_client(server) as client:
                await gone(server, 1)
                await trio.aclose_forcefully(client.stream)
            await gone(server)


async def test_a_client_that_never_reads_is_ended_and_others_are_served(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket fills, its queue fills, events are dropped for it alone, and in the end it is closed."""
    monkeypatch.setattr("messaging.gateway.transports.connection.SEND_DEADLINE", 0.5)
    async with (
        serving(platform, LiveConfiguration(session_queue_frames=50)) as server,
        signed_in(server, ANN) as ann,
        raw_session(server, BEN),
    ):
        body = "x" * 15_000
        for number in range(400):
            await say(ann, send={"client_message_id": str(number), "recipient_id": "2", "text": {"body": body}})
            assert "accepted" in await hear(ann)
        await gone(server, 1)


async def test_a_client_that_never_reads_is_gone_soon_after_its_session_has_ended(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.gateway.transports.connection.GOODBYE_DEADLINE", 0.2)
    async with serving(platform) as server, signed_in(server, ANN) as ann, raw_session(server, BEN):
        for number in range(400):
            body = "x" * 15_000
            await say(ann, send={"client_message_id": str(number), "recipient_id": "2", "text": {"body": body}})
            assert "accepted" in await hear(ann)
        assert len(server.gateway.registry) == 2
        (session,) = server.gateway.registry.of(BEN)
        session.reconnect(0)
        await gone(server, 1)


async def test_a_gateway_that_stops_is_going_away(platform: Platform) -> None:
    async with serving(platform) as server, signed_in(server, ANN) as ann, trio.open_nursery() as nursery:
        nursery.start_soon(server.gateway.drain)
        assert "reconnect" in await hear(ann)
        assert await heard_close(ann) == 1001
