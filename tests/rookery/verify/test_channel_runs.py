"""A whole run with a channel against a platform in memory that breaks one promise of channels at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest
import trio
from trio.testing import MockClock

from rookery.client import ChannelHead, Chat, Event, Followed, Gap, Message, NotFollowed, Refused
from rookery.verify import Kind
from rookery.verify.changes import is_visible
from shared.background import open_background
from shared.contract.ids import first_id_at, wall_clock_ms
from tests.rookery.verify.platform import FakeClient, verify
from tests.rookery.verify.test_group_runs import GROUPS, GroupClient, GroupPlatform

pytestmark = pytest.mark.usefixtures("wall_clock")

CHANNEL = replace(GROUPS, groups=(), channel=8, messages=600)
"""Fifteen seconds, in which clients follow the channel, half of them have it open, and users leave and join it."""

HEAD_SECONDS = 5.0

SESSION_SECONDS, AWAY_SECONDS = 3.0, 1.0
"""Of a client that loses its sessions: the last one ends while the client reads what was before it."""


class ChannelPlatform(GroupPlatform):
    """Sends the events of a channel to the users whom they concern, and to the clients that have it open."""

    has_lost = False
    """Whether it has sent a Gap to a client."""

    def make_client(self, user_id: int) -> FakeClient:
        return ChannelClient(self, user_id)

    @asynccontextmanager
    async def open_client(self, name: str, number: int, transport: str, presence: object) -> AsyncIterator[FakeClient]:
        async with (
            super().open_client(name, number, transport, presence) as client,
            open_background() as nursery,
        ):
            assert isinstance(client, ChannelClient)
            for task in self.tasks(client):
                nursery.start_soon(task)
            yield client

    def tasks(self, client: "ChannelClient") -> Sequence[Callable[[], Awaitable[None]]]:
        """The tasks that run for a client while it is open."""
        return [client.show_heads]

    @property
    def followers(self) -> list["ChannelClient"]:
        return [client for client in self.clients if isinstance(client, ChannelClient)]

    def deliver_to(self, user_ids: Iterable[int], message: Message) -> None:
        if not self.rosters[message.chat_id].is_channel:
            super().deliver_to(user_ids, message)
            return
        for member in message.control.members:
            if not member.role:
                self.end_following(member.user_id, message.chat_id)
        mentioned = {mention.user_id for mention in message.text.mentions}
        concerned = set(user_ids) & mentioned if not message.HasField("control") else set(user_ids)
        readers = self.readers(message.chat_id, message.message_id, message.sender_id)
        for user_id in sorted(concerned | readers):
            self.deliver(user_id, message)

    def deliver_change(self, actor: FakeClient, event: Event) -> None:
        chat_id = event.change.chat_id
        if chat_id not in self.rosters or not self.rosters[chat_id].is_channel:
            super().deliver_change(actor, event)
            return
        mentions = event.change.edited.text.mentions
        mentioned = {mention.user_id for mention in mentions} & self.rosters[chat_id].present
        readers = self.readers(chat_id, event.event_id, actor.me.user_id)
        for client in self.clients:
            is_concerned = client.me.user_id in mentioned | readers and client is not actor
            if is_concerned and is_visible(event.change, client.me.user_id):
                client.queue.put(event, 0)

    def readers(self, chat_id: str, event_id: int, actor_id: int) -> set[int]:
        """The users whose clients get an event of others, as they have the channel open; others will get its head."""
        readers = [client for client in self.followers if client.reads(chat_id, event_id)]
        for client in readers:
            client.changed |= {chat_id: event_id} if chat_id in client.followed else {}
        return {client.me.user_id for client in readers if chat_id in client.open} - {actor_id}

    def complete_up_to(self) -> int:
        return first_id_at(wall_clock_ms() - 1_000)

    def end_following(self, user_id: int, chat_id: str) -> None:
        for client in self.followers:
            if client.me.user_id == user_id:
                client.followed, client.open = set(), set()


class ChannelClient(GroupClient):
    """Also follows channels."""

    def __init__(self, platform: ChannelPlatform, user_id: int) -> None:
        super().__init__(platform, user_id)
        self._channels = platform
        self.followed: set[str] = set()
        """The channels that are not open."""
        self.open: set[str] = set()
        self.changed: dict[str, int] = {}
        """The newest event of each channel, until a head shows it."""
        self.numbers = count(user_id)

    def follow(self, chat_ids: Iterable[str], open_chat_ids: Iterable[str]) -> None:
        mine = {chat_id for chat_id in chat_ids if self.me.user_id in self._platform.rosters[chat_id]}
        self.open = mine & set(open_chat_ids)
        self.followed = mine - self.open
        for chat_id in self.followed:
            ids = (event.event_id for event in self._platform.feed(chat_id, 0))
            self.changed[chat_id] = max(event_id for event_id in ids if self.reads(chat_id, event_id))
        self.queue.put(Followed(wall_clock_ms(), tuple(chat_ids), tuple(open_chat_ids)), 0)

    def _chat(self, chat_id: str) -> Chat:
        chat = super()._chat(chat_id)
        if roster := self._platform.rosters.get(chat_id):
            chat.settings.CopyFrom(roster.settings)
            chat.own.CopyFrom(roster.members[self.me.user_id])
        return chat

    async def lose_sessions(self) -> None:
        while True:
            await trio.sleep(SESSION_SECONDS)
            was_open, followed = self.open, self.open | self.followed
            self.open, self.followed = set(), set()
            await trio.sleep(AWAY_SECONDS)
            self.follow(followed | self.open | self.followed, was_open | self.open)
            if not next(self.numbers) % 3:
                self.queue.put(Gap(at_ms=wall_clock_ms()), 0)

    async def lose_events(self) -> None:
        await trio.sleep(SESSION_SECONDS)
        self.queue.put(Gap(at_ms=wall_clock_ms()), 0)
        self._channels.has_lost = True

    async def show_heads(self) -> None:
        while True:
            for chat_id in self.followed & self.changed.keys():
                self.queue.put(ChannelHead(chat_id=chat_id, newest_id=self.changed.pop(chat_id)), 0)
            await trio.sleep(HEAD_SECONDS)


class EndsSessions(ChannelPlatform):
    """Has new sessions all the time, in which the clients follow again, some of them after a Gap."""

    def tasks(self, client: "ChannelClient") -> Sequence[Callable[[], Awaitable[None]]]:
        return [*super().tasks(client), client.lose_sessions]


class FollowsLate(EndsSessions):
    """Does not accept the Follow frames of a part of the clients."""

    def make_client(self, user_id: int) -> FakeClient:
        return ChannelClient(self, user_id) if user_id % 4 else UnfollowedClient(self, user_id)


class UnfollowedClient(ChannelClient):
    def follow(self, chat_ids: Iterable[str], open_chat_ids: Iterable[str]) -> None:
        refused = Refused("unavailable", "The members are not known now.", retryable=True)
        self.queue.put(NotFollowed(refused, tuple(chat_ids), tuple(open_chat_ids)), 0)


@pytest.mark.parametrize("platform", [pytest.param(EndsSessions, marks=pytest.mark.slow), FollowsLate])
async def test_clients_follow_a_channel_which_users_join_and_leave_without_a_violation(
    autojump_clock: MockClock, platform: type[ChannelPlatform]
) -> None:
    result = await verify(platform(), replace(CHANNEL, groups=(4,)))
    assert result.violations == ()
    assert (result.in_groups > 20, result.heads > 0) == (True, True)


class LosesLiveEvents(ChannelPlatform):
    """Sends events only to the users whom they concern."""

    def readers(self, chat_id: str, event_id: int, actor_id: int) -> set[int]:
        super().readers(chat_id, event_id, actor_id)
        return set()


class SendsToAll(ChannelPlatform):
    """Sends events to all members."""

    def readers(self, chat_id: str, event_id: int, actor_id: int) -> set[int]:
        super().readers(chat_id, event_id, actor_id)
        return set(self.rosters[chat_id].present - {actor_id})


class SendsToRemoved(ChannelPlatform):
    """Sends events to each client that has opened the channel."""

    def readers(self, chat_id: str, event_id: int, actor_id: int) -> set[int]:
        super().readers(chat_id, event_id, actor_id)
        return {client.me.user_id for client in self.followers if chat_id in client.open} - {actor_id}

    def end_following(self, user_id: int, chat_id: str) -> None:
        pass


class LosesHeads(ChannelPlatform):
    """Sends a head at a Follow only."""

    def readers(self, chat_id: str, event_id: int, actor_id: int) -> set[int]:
        return {client.me.user_id for client in self.followers if chat_id in client.open} - {actor_id}


class LosesAllAfterGaps(ChannelPlatform):
    """Sends a Gap to each client, and then neither heads nor the events of open channels."""

    def tasks(self, client: "ChannelClient") -> Sequence[Callable[[], Awaitable[None]]]:
        return [*super().tasks(client), client.lose_events]

    def readers(self, chat_id: str, event_id: int, actor_id: int) -> set[int]:
        return set() if self.has_lost else super().readers(chat_id, event_id, actor_id)


@pytest.mark.parametrize(
    ("platform", "kinds"),
    [
        (LosesLiveEvents, {Kind.NOT_DELIVERED, Kind.WRONG_STATE}),
        (SendsToAll, {Kind.NOT_OPEN}),
        (SendsToRemoved, {Kind.OUTSIDE}),
        (LosesHeads, {Kind.NOT_SHOWN}),
        (LosesAllAfterGaps, {Kind.NOT_DELIVERED, Kind.NOT_SHOWN}),
    ],
)
async def test_a_broken_promise_of_channels_is_found(
    platform: type[ChannelPlatform], kinds: set[Kind], autojump_clock: MockClock
) -> None:
    result = await verify(platform(), CHANNEL)
    assert {violation.kind for violation in result.violations} == kinds, result.violations[:3]
