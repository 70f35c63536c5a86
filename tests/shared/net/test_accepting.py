"""Accepting while the process has no file for another connection."""

import errno
import os
from collections.abc import Sequence

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from shared.net.accepting import PAUSE, serve_listeners

CLIENTS = 3


class Listener(trio.abc.Listener[trio.abc.Stream]):
    """Fails with these errors, one after the other, and then accepts some clients."""

    def __init__(self, errors: Sequence[int]) -> None:
        self.errors = list(errors)
        self.clients = CLIENTS
        self.is_closed = False

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        if not self.clients:
            await trio.sleep_forever()
        self.clients -= 1
        return trio.testing.memory_stream_pair()[0]

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


async def ignore(_: trio.abc.Stream) -> None:
    pass


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_files_accepting_pauses_with_one_line_in_the_log(
    number: int, autojump_clock: trio.testing.MockClock
) -> None:
    failures = 50
    listeners = [Listener([number] * failures) for _ in range(2)]
    with capture_logs() as lines, trio.move_on_after(PAUSE * (failures + 1)):
        await serve_listeners(ignore, listeners)
    assert all(not listener.errors and not listener.clients and listener.is_closed for listener in listeners)
    assert [(line["event"], "exc_info" in line) for line in lines] == [("accept_failed", False)]


async def test_another_error_ends_the_listener() -> None:
    listener = Listener([errno.EINVAL])
    with pytest.RaisesGroup(OSError):
        await serve_listeners(ignore, [listener])
    assert listener.is_closed
