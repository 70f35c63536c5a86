"""The sessions of a load, independent of their transport."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import trio

from rookery.client import GatewayEndpoints

CONNECTS_AT_ONCE = 16
"""Sessions opened concurrently: enough to keep a server busy, too few to fill its queue of connections."""

CONNECT_DEADLINE = 10.0
"""Seconds for each step of opening a session."""

UNKNOWN = GatewayEndpoints(websocket="", grpc="")
"""The gateway of a user that is not located yet."""

Item = TypeVar("Item")
Value = TypeVar("Value")


class LoadError(Exception):
    """The load can't run. The message is for the person who started it."""


@dataclass(frozen=True, slots=True)
class LoadUser:
    """A user of the load, the chat to which they write, and their gateway."""

    user_id: int
    peer_id: int
    token: str
    gateway: GatewayEndpoints = UNKNOWN
    chat_id: str = ""
    """The group to which they write; empty: to their partner, `peer_id`."""
    follows: Literal["", "closed", "open"] = ""
    """Whether their session follows the group, which is a channel, and whether it has it open."""


class SessionObserver(Protocol):
    """Receives the results of sessions. A key is the run's id with a message number; others are of earlier runs."""

    def accepted(self, user: int, key: str, now: float) -> None: ...

    def delivered(self, key: str, now: float) -> None:
        """Report a message that has reached one session."""
        ...

    def shown(self) -> None:
        """Report a ChannelHead that has reached one session."""
        ...

    def refused(self, user: int, key: str, code: str) -> None: ...

    def failed(self, kind: str) -> None:
        """Report a session that ended before the run."""
        ...


class Sessions(Protocol):
    """One live session for each user of a run."""

    def send(self, user: int, number: int) -> None:
        """Send message `number` from the user to their partner or group, without waiting."""
        ...

    async def listen(self, observer: SessionObserver) -> None:
        """Report received frames, until cancelled."""
        ...


async def for_each(
    work: Callable[[Item], Awaitable[Value]], items: Sequence[Item], *, at_once: int = CONNECTS_AT_ONCE
) -> list[Value]:
    """Do the work for every item, `at_once` concurrently. Return the results in order; raises the first failure."""
    results: dict[int, Value] = {}
    failures: list[Exception] = []
    waiting = iter(enumerate(items))

    async def run() -> None:
        for index, item in waiting:
            try:
                results[index] = await work(item)
            except Exception as error:  # the first failure cancels the others and is raised below, without a group
                failures.append(error)
                nursery.cancel_scope.cancel()
                return

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(run)
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(items))]
