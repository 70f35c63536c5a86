"""What the load needs of its sessions, whatever transport carries them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import trio

from rookery.client import GatewayAddress

CONNECTS_AT_ONCE = 16
"""Sessions that are opened side by side: enough to keep a server busy, too few to fill its queue of connections."""

CONNECT_DEADLINE = 10.0
"""Seconds for each step of opening a session."""

NOWHERE = GatewayAddress(websocket="", grpc="")
"""Of a user whose gateway nobody has asked for."""

Item = TypeVar("Item")
Value = TypeVar("Value")


class LoadError(Exception):
    """The load can't be run; the message says why."""


@dataclass(frozen=True, slots=True)
class LoadUser:
    """A user of the load, the one that they write to, and where their sessions go."""

    user_id: int
    peer_id: int
    token: str
    gateway: GatewayAddress = NOWHERE


class Hears(Protocol):
    """Who is told of what comes. Keys are the run's id with the number of a message; others are of earlier runs."""

    def accepted(self, user: int, key: str, now: float) -> None: ...

    def delivered(self, key: str, now: float) -> None: ...

    def refused(self, user: int, key: str, code: str) -> None: ...

    def failed(self, kind: str) -> None:
        """A session is over before its time."""
        ...


class Sessions(Protocol):
    """One live session for each user of a run."""

    def send(self, user: int, number: int) -> None:
        """Send message `number` from the user to their other half, now. It does not wait."""
        ...

    async def listen(self, hears: Hears) -> None:
        """Report what comes, until cancelled."""
        ...


async def for_each(
    work: Callable[[Item], Awaitable[Value]], items: Sequence[Item], *, at_once: int = CONNECTS_AT_ONCE
) -> list[Value]:
    """Do the work for every item, some side by side; the results in the items' order. Raises the first failure."""
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
