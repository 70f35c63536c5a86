"""Clients that come back after an absence get a Gap, and read the missed messages from history."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from rookery.client import Api, CatchUp, Gap, MissedEvent, Unreachable
from rookery.v1.session_pb2 import Authenticate, ClientFrame, Position, ServerFrame
from rookery.verify import Kind, Plan, Result, absences, open_verification, participant
from rookery.verify.absences import AWAY_SECONDS, UNKNOWN_EPOCH, Presence
from shared.contract.ids import first_id_at, wall_clock_ms
from tools.launch.people import PASSWORD
from tools.launch.process import Rookery, running


class FakeStream:
    """Records sent frames, and never receives one."""

    def __init__(self) -> None:
        self.sent: list[ClientFrame] = []

    async def send(self, frame: ClientFrame) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(frame)

    async def receive(self) -> ServerFrame | None:
        await trio.sleep_forever()


async def test_an_absence_ends_the_connection_and_costs_the_position(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stream, presence = FakeStream(), Presence()

    @asynccontextmanager
    async def connect(endpoint: str) -> AsyncIterator[FakeStream]:
        yield stream

    open_stream = presence.wrap(connect)
    frame = ClientFrame(authenticate=Authenticate(last_position=Position(offset=7, epoch=1)))
    async with open_stream("here") as first:
        await first.send(ClientFrame.FromString(frame.SerializeToString()))
        begin = trio.current_time()
        nursery.start_soon(presence.leave)
        with pytest.raises(Unreachable):
            await first.receive()
    assert presence.is_away
    async with open_stream("here") as second:
        assert trio.current_time() - begin == AWAY_SECONDS
        for _ in range(2):
            await second.send(ClientFrame.FromString(frame.SerializeToString()))
    assert [each.authenticate.last_position.epoch for each in stream.sent] == [1, UNKNOWN_EPOCH, 1]


# ---- on a real platform


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    """One without replay, so that a short absence is long enough."""
    with running(Rookery(tmp_path_factory.mktemp("absences") / "data", replay_seconds=0)) as ready:
        yield ready


async def verify(platform: Rookery) -> Result:
    """Two clients write to each other, and one is away meanwhile."""
    plan = Plan(urls=(platform.url,), clients=2, messages=10_000, rate=50.0, absences=1, password=PASSWORD)
    async with open_verification(plan) as run:
        one, _ = run.participants
        while not one.gaps:
            await trio.sleep(0.05)
        await run.until(accepted=run.accepted_count + 20)
        run.stop()
        return await run.finish()


async def test_a_client_finds_what_it_missed_in_an_absence(platform: Rookery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absences, "AWAY_SECONDS", 0.5)
    result = await verify(platform)
    assert (result.violations, result.gaps, result.reconnects) == ((), 1, 0)
    assert result.caught_up > 0


@pytest.mark.slow
async def test_a_client_that_reads_after_its_own_newest_message_is_found(
    platform: Rookery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its messages that wait during the absence are accepted while it reads."""
    monkeypatch.setattr(absences, "AWAY_SECONDS", 0.5)

    came_back: list[int] = []

    class AfterOwn(CatchUp):
        async def events(self, gap: Gap | None = None) -> AsyncGenerator[MissedEvent, None]:
            (chat,) = (await self._api.chats(limit=1)).chats
            came_back.append(wall_clock_ms())
            while self.listed_up_to < first_id_at(came_back[0]):
                api: Api = cast(Any, self._api)._api
                newest = await api.history(chat.chat_id, limit=100)
                own = [each.message for each in newest.messages if each.message.sender_id == api.me.user_id]
                self.listed_up_to = max(message.message_id for message in own)
            async for event in super().events(Gap()):
                yield event

    monkeypatch.setattr(participant, "CatchUp", AfterOwn)
    result = await verify(platform)
    kinds = {violation.kind for violation in result.violations}
    assert {Kind.NOT_DELIVERED} <= kinds <= {Kind.NOT_DELIVERED, Kind.WRONG_STATE}  # some of them were changed
