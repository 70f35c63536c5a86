"""Relationships between users: connections, blocks and reports, and the part of an account store that keeps them.

Two users have one `Relationship`. A step of one of them is a function from the value before to the value after, and the
store replaces one by the other if it has not changed since.
"""

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import trio

from shared.contract.errors import Code, Refusal, Unavailable

MAX_CONNECTIONS = 1_000
"""Connections of a user, invitations from and to them included."""

MAX_BLOCKS = 1_000
"""Users whom one user may block at the same time."""

ENDED_AT_ONCE = 32
"""Relationships of a deleted account: of 2,000, each a transaction, so that it takes seconds."""

MAX_REPORTED_MESSAGES = 20


class WhoMayStart(StrEnum):
    """Who may send a user the first message of a direct chat. The values are stored, so they never change."""

    EVERYONE = "everyone"
    CONNECTIONS = "connections"


class State(StrEnum):
    """A connection, as one of its two users sees it."""

    NONE = ""
    INVITED = "invited"
    """The user has invited the other one."""
    INVITES_ME = "invites_me"
    CONNECTED = "connected"


@dataclass(frozen=True, slots=True)
class Relationship:
    """A user's relationship to another user. Times are in milliseconds since 1970; 0 means no."""

    user_id: int
    other_id: int
    wants_ms: int = 0
    """Since when the user wants a connection. Two users are connected while both want it."""
    wanted_ms: int = 0
    """Since when the other one wants a connection."""
    blocks_ms: int = 0
    """Since when the user blocks the other one."""
    blocked_ms: int = 0
    """Since when the other one blocks the user, which the user must not learn."""
    version: int = 0
    """The version of the stored value, which both users share; 0 before the first."""

    @property
    def is_connected(self) -> bool:
        return bool(self.wants_ms and self.wanted_ms)

    @property
    def is_blocked(self) -> bool:
        """Whether one of them blocks the other: neither may write to the other, or see whether the other is online."""
        return bool(self.blocks_ms or self.blocked_ms)

    @property
    def state(self) -> State:
        """The connection. An invitation by somebody whom the user blocks is not shown to the user."""
        if self.is_connected:
            return State.CONNECTED
        if self.wants_ms:
            return State.INVITED
        return State.INVITES_ME if self.wanted_ms and not self.blocks_ms else State.NONE

    @property
    def since_ms(self) -> int:
        """Since when the connection is in its state."""
        return max(self.wants_ms, self.wanted_ms)

    @property
    def is_listed(self) -> bool:
        """Whether it is among the relationships of the user: not if only the other one blocks."""
        return bool(self.wants_ms or self.wanted_ms or self.blocks_ms)

    @property
    def reversed(self) -> "Relationship":
        """The same relationship, as the other user's."""
        return Relationship(
            self.other_id,
            self.user_id,
            wants_ms=self.wanted_ms,
            wanted_ms=self.wants_ms,
            blocks_ms=self.blocked_ms,
            blocked_ms=self.blocks_ms,
            version=self.version,
        )


Step = Callable[[Relationship, int], Relationship | Refusal]
"""A change of a relationship by its user at a time in milliseconds. A Relationship that is equal changes nothing."""


def invite(before: Relationship, now_ms: int) -> Relationship | Refusal:
    """Invite the other user, or accept their invitation."""
    if before.blocks_ms:
        return Refusal(Code.OUT_OF_ORDER, "You have blocked this user: unblock them first.", field="user_id")
    return before if before.wants_ms else replace(before, wants_ms=now_ms)


def part(before: Relationship, now_ms: int) -> Relationship:
    """Remove the connection, cancel the invitation, or decline it."""
    return replace(before, wants_ms=0, wanted_ms=0)


def block(before: Relationship, now_ms: int) -> Relationship:
    """Block the other user, which also removes the connection and both invitations."""
    return before if before.blocks_ms else replace(before, wants_ms=0, wanted_ms=0, blocks_ms=now_ms)


def unblock(before: Relationship, now_ms: int) -> Relationship:
    return replace(before, blocks_ms=0)


class Resolution(StrEnum):
    """The end of a report. The values are stored, so they never change."""

    DISMISSED = "dismissed"
    HANDLED = "handled"


@dataclass(frozen=True, slots=True)
class Report:
    """A report of a user, and perhaps of messages, to the admins. `report_id` is a snowflake, which has its time."""

    report_id: int
    reporter_id: int
    user_id: int
    chat_id: str
    """The chat of the messages; empty without messages."""
    messages: str
    """The messages when they were reported: a JSON array of HistoryMessage, in the JSON form of the protos."""
    reason: str
    resolution: Resolution | None = None
    """None while the report is open."""
    note: str = ""
    closed_by: int = 0
    """The user id of the admin."""
    closed_at_ms: int = 0

    @property
    def files(self) -> Set[tuple[int, int]]:
        """The files that the messages had, each as message_id and file_id."""
        messages = [each["message"] for each in json.loads(self.messages)]
        return {(int(one["message_id"]), int(file["file_id"])) for one in messages for file in one.get("files", ())}


class PeopleStore(Protocol):
    """Every method raises Unavailable if the engine does not answer."""

    async def relationships(self, user_id: int, other_ids: Sequence[int]) -> Mapping[int, Relationship]:
        """Return the relationship of the user to each of these, whether they exist or not."""
        ...

    async def relationships_of(self, user_id: int) -> Sequence[Relationship]:
        """Return the listed relationships of the user, by rising id of the other."""
        ...

    async def change_relationship(self, before: Relationship, after: Relationship) -> bool:
        """Store `after` if `before` is still the stored one. Its version is one higher then."""
        ...

    async def add_report(self, report: Report) -> None:
        """Store the report. Storing it again changes nothing."""
        ...

    async def report(self, report_id: int) -> Report | None: ...

    async def reports(self, *, is_open: bool, after: int, limit: int) -> Sequence[Report]:
        """Return open reports, the oldest first, or closed ones, the newest first: those that follow the report `after`
        in this order (0: the first ones)."""
        ...

    async def close_report(
        self, report_id: int, *, resolution: Resolution, note: str, closed_by: int, at_ms: int
    ) -> bool:
        """Close the report. False if it does not exist, or is closed."""
        ...

    async def has_opened(self, report_id: int, file_id: int, admin_id: int) -> bool:
        """Whether `add_opening` has stored this opening."""
        ...

    async def add_opening(self, report_id: int, file_id: int, admin_id: int) -> None:
        """Store that an admin has opened this file of the report. Storing it again changes nothing."""
        ...


async def take_step(
    store: PeopleStore, user_id: int, other_id: int, step: Step, now_ms: int
) -> tuple[Relationship, Relationship] | Refusal:
    """Change the relationship of two users, and return the former and the new one. Raises Unavailable."""
    while True:  # once more for each change that another process makes meanwhile
        before = (await store.relationships(user_id, [other_id]))[other_id]
        after = step(before, now_ms)
        if isinstance(after, Refusal):
            return after
        if after == before or await store.change_relationship(before, after):
            return before, after


async def end_all(store: PeopleStore, user_id: int) -> None:
    """Remove the connections, invitations and blocks of a user whose account is deleted, ENDED_AT_ONCE at a time.
    Blocks by others stay. Raises Unavailable; it may be repeated then."""

    def end(before: Relationship, now_ms: int) -> Relationship:
        return unblock(part(before, now_ms), now_ms)

    async def end_next() -> None:
        for relationship in remaining:
            try:
                await take_step(store, user_id, relationship.other_id, end, 0)
            except Unavailable as error:
                failures.append(error)
                return

    remaining, failures = iter(await store.relationships_of(user_id)), list[Unavailable]()
    async with trio.open_nursery() as nursery:
        for _ in range(ENDED_AT_ONCE):
            nursery.start_soon(end_next)
    if failures:
        raise failures[0]
