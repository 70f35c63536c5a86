"""The promises of `shared.signals.protocol`, on every engine."""

import itertools
from collections.abc import Callable

import pytest
import trio

from shared.drivers.redis.messages import MAX_PENDING
from shared.signals import protocol
from shared.signals.memory import LocalSignals
from shared.signals.protocol import Listener, Signals
from shared.signals.redis import open_redis_signals
from shared.telemetry.metrics.catalogue import SIGNALS_LOST
from tests.shared.drivers.redis_clients import blocking, settings_for
from tests.shared.signals.conftest import OpenSignals
from tests.waiting import PATIENCE
from tools.engines.redis import Redis

_ends = itertools.count()


async def received(listener: Listener, signals: Signals, channel: str) -> list[bytes]:
    """Publish until the listener receives from the channel; then what it has received besides."""
    values: list[bytes] = []
    end = b"end %d" % next(_ends)
    with trio.fail_after(PATIENCE):
        while end not in values:
            signals.publish(channel, end)
            with trio.move_on_after(0.05):
                values += await listener.receive()
    return [value for value in values if not value.startswith(b"end")]


async def test_every_listener_receives_the_signals_of_its_channels_in_order(open_signals: OpenSignals) -> None:
    async with open_signals() as ours, open_signals() as theirs, ours.listen() as one, theirs.listen() as two:
        one.listen_to(["a", "b"])
        two.listen_to(["b"])
        assert await received(one, theirs, "a") == await received(two, ours, "b") == []
        ours.publish("a", b"\x00\xff")
        ours.publish("b", b"2")
        assert await received(one, ours, "b") == [b"\x00\xff", b"2"]
        assert await received(two, ours, "b") == [b"2"]


async def test_a_listener_that_changes_its_channels_receives_only_those(open_signals: OpenSignals) -> None:
    async with open_signals() as signals, signals.listen() as listener:
        listener.listen_to(["a"])
        await received(listener, signals, "a")
        listener.listen_to(["b"])
        await received(listener, signals, "b")
        signals.publish("a", b"lost")
        assert await received(listener, signals, "b") == []


async def test_a_listener_that_falls_behind_loses_new_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_WAITING", 3)
    signals, lost = LocalSignals(), SIGNALS_LOST.count("no_room")
    async with signals.listen() as listener:
        listener.listen_to(["a"])
        for number in range(9):
            signals.publish("a", b"%d" % number)
        assert await listener.receive() == [b"0", b"1", b"2"]
    assert SIGNALS_LOST.count("no_room") == lost + 6


async def test_redis_being_away_loses_signals_and_listeners_return(own_redis: Callable[..., Redis]) -> None:
    server = own_redis()
    async with open_redis_signals(settings_for(server, timeout_seconds=0.2)) as signals, signals.listen() as listener:
        listener.listen_to(["a"])
        await received(listener, signals, "a")
        await blocking(server.kill)
        lost = SIGNALS_LOST.count("not_sent")
        for _ in range(MAX_PENDING + 2_000):
            signals.publish("a", b"lost")
        assert SIGNALS_LOST.count("not_sent") >= lost + 2_000
        await trio.sleep(0.1)
        await blocking(server.start)
        await received(listener, signals, "a")
