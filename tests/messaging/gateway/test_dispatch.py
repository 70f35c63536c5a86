"""Commands and their answers: each refusal names its own frame, and an unavailable engine ends no session."""

from typing import NoReturn

import pytest
import structlog
import trio
import trio.testing

from rookery.v1.session_pb2 import Authenticate, ClientFrame, Ping, Reacted
from shared.contract.errors import Unavailable
from tests.messaging.gateway.harness import ANN, BEN, Platform, ScriptedLog, change_frame


async def test_a_refusal_names_its_own_frame_although_later_ones_were_received(
    platform: Platform, log: ScriptedLog
) -> None:
    """A Connection receives the next frame after the last is handled; a Command does not rely on that."""
    gateway = await platform.start_gateway()
    platform.history.add(99)
    platform.history.open = trio.Event()
    react = change_frame("a", 99, reacted=Reacted(emoji="🔥", set=True))
    async with platform.sign_in(gateway, ANN) as ann, trio.open_nursery() as nursery:
        (session,) = gateway.registry.of(ANN)
        nursery.start_soon(gateway.dispatcher.receive, session, react)
        await trio.testing.wait_all_tasks_blocked()
        await gateway.dispatcher.receive(session, ClientFrame(ping=Ping()))
        platform.history.open.set()
        await log.until_published()
        log.acknowledge(Unavailable("no answer"))
        assert (await ann.until("refused")).refused.frame == 2
        assert session.frames_received == 3


async def unavailable(*_: object) -> NoReturn:
    raise Unavailable("secret")


async def test_an_unavailable_engine_refuses_the_frame_and_the_session_lives(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        monkeypatch.setattr(platform.accounts, "users", unavailable)
        await ann.send_text("a", BEN)
        refused = (await ann.expect("refused")).refused
        assert (refused.code, refused.retryable) == ("unavailable", True)
        assert (refused.frame, refused.client_id) == (2, "a")
        assert "secret" not in refused.message
        await ann.send(ClientFrame(ping=Ping()))
        await ann.expect("pong")


async def test_an_unavailable_engine_at_sign_in_ends_the_session(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await platform.start_gateway()
    token = await platform.token(ANN)
    monkeypatch.setattr(platform.accounts, "sign_in_status", unavailable)
    async with platform.connect(gateway) as client:
        await client.send(ClientFrame(authenticate=Authenticate(access_token=token)))
        assert (await client.expect("goodbye")).goodbye.code == "unavailable"
        assert await client.ended()


async def test_sign_ins_that_an_unavailable_engine_refuses_are_logged_once_a_minute(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers sign in at any rate, with any token."""
    gateway = await platform.start_gateway()
    token = await platform.token(ANN)
    monkeypatch.setattr(platform.accounts, "sign_in_status", unavailable)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            async with platform.connect(gateway) as client:
                await client.send(ClientFrame(authenticate=Authenticate(access_token=token)))
                await client.expect("goodbye")
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["command_unavailable"]
