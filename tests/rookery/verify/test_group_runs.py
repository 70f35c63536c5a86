"""A whole run with groups against a platform in memory that breaks one promise of their members at a time."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rookery.client import (
    ROLE_ADMIN,
    ROLE_MEMBER,
    ROLE_OWNER,
    Accepted,
    Chat,
    Control,
    Event,
    GroupInvite,
    GroupSettings,
    ListMembersResponse,
    Member,
    Message,
    NewGroupInvite,
    Refused,
    Span,
    State,
    Unreachable,
    apply_change,
)
from rookery.v1.groups_pb2 import Invite
from rookery.v1.session_pb2 import Send
from rookery.verify import Kind
from rookery.verify.changes import is_visible
from rookery.verify.groups import LINK_EVERY, MAX_TIMES
from rookery.verify.records import Place, place_of
from shared.contract.chats import is_group
from shared.contract.groups import Roster, audience
from tests.rookery.verify.platform import PLAN, FakeClient, Platform, verify

pytestmark = pytest.mark.usefixtures("wall_clock")

GROUPS = replace(PLAN, clients=8, messages=800, rate=40.0, groups=(4, 8), changes=60, files=10)
"""Twenty seconds, in which each of two users makes some 40 control changes of each group."""


class GroupPlatform(Platform):
    """Knows groups, and answers every fifth control change only when it is repeated."""

    plan = GROUPS

    def __init__(self) -> None:
        super().__init__()
        self.rosters: dict[str, Roster] = {}
        self.controls: dict[tuple[int, str], Message] = {}
        """By actor and client id, for retries."""
        self.changes = defaultdict[Place, list[Event]](list)

    def make_client(self, user_id: int) -> FakeClient:
        return GroupClient(self, user_id)

    def store_change(self, event: Event) -> None:
        super().store_change(event)
        self.changes[place_of(event.change)].append(event)

    def take(self, sender: FakeClient, recipient_id: int | str, send: Send, key: str) -> Accepted | Refused | None:
        if isinstance(recipient_id, int):
            return super().take(sender, recipient_id, send, key)
        self.taken += 1
        user_id, roster = sender.me.user_id, self.rosters[recipient_id]
        if user_id not in roster.present:
            return Refused("not_found", "There is no such chat.")
        message = Message(
            message_id=self.ids.next_nowait() or 0, chat_id=recipient_id, sender_id=user_id, client_message_id=key,
            text=send.text, forwarded=send.forwarded, files=self.files_of(send),
        )  # fmt: skip
        self.store(message)
        self.deliver_to(self.recipients(roster) - {user_id}, message)
        return self.accept(message)

    def recipients(self, roster: Roster) -> frozenset[int]:
        return roster.present

    def deliver_to(self, user_ids: Iterable[int], message: Message) -> None:
        for user_id in sorted(user_ids):
            self.deliver(user_id, message)

    def control(
        self, actor_id: int, key: str, chat_id: str, make: Callable[[Roster, int], Iterable[Member]], **other: Any
    ) -> Message:
        """Make a control change of the members that `make` returns for the roster and the event id."""
        if (actor_id, key) not in self.controls:
            roster, event_id = self.rosters.get(chat_id) or Roster.empty(chat_id), self.ids.next_nowait() or 0
            control = Control(version=roster.version + 1, members=make(roster, event_id), **other)
            for member in control.members:
                member.version = control.version
            message = Message(message_id=event_id, chat_id=chat_id, sender_id=actor_id)
            message.client_message_id = f"control:{key}"  # the server's own
            message.control.CopyFrom(control)
            self.controls[actor_id, key] = message
            self.rosters[chat_id] = roster.after(control)
            self.store(message)
            self.deliver_to(audience(roster, control, message.sender_id), message)
            if len(self.controls) % 5 == 0:
                raise Unreachable("no answer")
        return self.controls[actor_id, key]


class GroupClient(FakeClient):
    """Also the part of Groups that a verification uses."""

    _platform: GroupPlatform

    @property
    def groups(self) -> "GroupClient":
        return self

    def reads(self, chat_id: str, event_id: int = 0) -> bool:
        roster = self._platform.rosters.get(chat_id)
        if roster is None:
            return super().reads(chat_id)
        return roster.includes(self.me.user_id, event_id) if event_id else self.me.user_id in roster.members

    def _state(self, place: Place) -> list[Event]:
        state: State = {}
        for event in self._platform.changes[place]:
            change, is_seen = event.change, self.reads(event.change.chat_id, event.event_id)
            is_deletion = change.HasField("deleted") and self.reads(change.chat_id, change.target_id)
            if (is_seen or is_deletion) and is_visible(change, self.me.user_id):
                apply_change(state, event)
        return list(state.values())

    async def create(self, name: str, user_ids: list[int], *, is_channel: bool, client_change_id: str) -> Message:
        def make(_: Roster, event_id: int) -> Iterable[Member]:
            for user_id in (self.me.user_id, *user_ids):
                role = ROLE_OWNER if user_id == self.me.user_id else ROLE_MEMBER
                yield Member(user_id=user_id, role=role, spans=[Span(first=event_id)])

        settings = GroupSettings(name=name, is_channel=is_channel)
        return await self._control(client_change_id, f"g-1{name[-1]}", make, settings=settings)

    async def change_settings(self, chat_id: str, *, name: str, client_change_id: str) -> Message:
        made = self._platform.controls.get((self.me.user_id, client_change_id))
        if made is None and self._platform.rosters[chat_id].settings.name == name:
            raise Refused("invalid", "The settings have these values already.")
        settings = GroupSettings(name=name, is_channel=self._platform.rosters[chat_id].is_channel)
        return await self._control(client_change_id, chat_id, lambda *_: (), settings=settings)

    async def change_member(self, chat_id: str, user_id: int, *, role: Any, client_change_id: str) -> Message:
        assert role == ROLE_ADMIN
        return await self._control(client_change_id, chat_id, lambda roster, _: [changed(roster, user_id, role)])

    async def add_members(self, chat_id: str, user_ids: list[int], *, client_change_id: str) -> Message:
        def make(roster: Roster, event_id: int) -> Iterable[Member]:
            (user_id,) = user_ids
            member = changed(roster, user_id, ROLE_MEMBER)
            member.spans.add(first=event_id)
            return [member]

        return await self._control(client_change_id, chat_id, make)

    async def create_invite(self, chat_id: str, *, client_change_id: str) -> NewGroupInvite:
        invite = Invite(creator_id=self.me.user_id)
        message = await self._control(client_change_id, chat_id, lambda *_: (), invites=[invite])
        created = GroupInvite(message.message_id, self.me.user_id, 0, 0, 0, is_revoked=False, is_usable=True)
        return NewGroupInvite(created, f"to {chat_id}")

    async def join(self, token: str, *, client_change_id: str) -> Message:
        chat_id = token.removeprefix("to ")
        return await self.add_members(chat_id, [self.me.user_id], client_change_id=client_change_id)

    async def remove_member(self, chat_id: str, user_id: int, *, client_change_id: str) -> Message:
        def make(roster: Roster, event_id: int) -> Iterable[Member]:
            member = changed(roster, user_id, 0)
            member.spans[-1].last = event_id
            return [member]

        return await self._control(client_change_id, chat_id, make)

    async def leave(self, chat_id: str, *, client_change_id: str) -> Message:
        return await self.remove_member(chat_id, self.me.user_id, client_change_id=client_change_id)

    async def _control(self, key: str, chat_id: str, make: Any, **other: Any) -> Message:
        await trio.sleep(0.01)
        return self._platform.control(self.me.user_id, key, chat_id, make, **other)

    async def members(self, chat_id: str) -> ListMembersResponse:
        await trio.lowlevel.checkpoint()
        roster = self._platform.rosters[chat_id]
        return ListMembersResponse(members=[roster.members[user_id] for user_id in roster.present])

    async def chat(self, chat_id: str) -> Chat:
        await trio.lowlevel.checkpoint()
        roster = self._platform.rosters[chat_id]
        own = roster.members[self.me.user_id]
        return Chat(chat_id=chat_id, version=roster.version if own.role else own.version, own=own)

    def _begin(self, chat_id: str) -> int:
        roster = self._platform.rosters.get(chat_id)
        return 0 if roster is None else roster.members[self.me.user_id].spans[-1].first


def changed(roster: Roster, user_id: int, role: Any) -> Member:
    """A copy of the member with another role."""
    member = Member()
    member.CopyFrom(roster.members[user_id])
    member.former_role, member.role = member.role, role
    return member


async def test_users_join_and_leave_groups_without_a_violation(autojump_clock: MockClock) -> None:
    platform = GroupPlatform()
    result = await verify(platform, GROUPS)
    assert result.violations == ()
    assert result.controls == len(platform.controls) == sum(each.version for each in platform.rosters.values()) > 60
    assert result.accepted == result.sent == 800 - result.not_members
    assert result.in_groups > 20
    assert sum(is_group(event.change.chat_id) for event in platform.events.values()) > 20
    by_link = [join for each in platform.controls.values() if (join := joined_by_link(each))]
    assert len(by_link) > 5
    assert max(Counter(by_link).values()) <= MAX_TIMES / LINK_EVERY


def joined_by_link(message: Message) -> tuple[str, int] | None:
    """Return the group and the user of a control change by which a user joins; None for any other change."""
    joined = [each.user_id for each in message.control.members if each.role and not each.former_role]
    return (message.chat_id, message.sender_id) if joined == [message.sender_id] else None


class DeliversToRemoved(GroupPlatform):
    """Delivers a message to former members too."""

    def recipients(self, roster: Roster) -> frozenset[int]:
        return frozenset(roster.members)


class MissesNewcomers(GroupPlatform):
    """Delivers no message to members who joined after the creation."""

    def recipients(self, roster: Roster) -> frozenset[int]:
        return frozenset(user_id for user_id in roster.present if len(roster.members[user_id].spans) == 1)


class ShowsAll(GroupPlatform):
    """Does not clip history."""

    def make_client(self, user_id: int) -> FakeClient:
        client = super().make_client(user_id)
        client.reads = lambda chat_id, event_id=0: GroupClient.reads(client, chat_id)  # type: ignore[method-assign, arg-type]
        return client


class DeliversChangesToRemoved(GroupPlatform):
    """Delivers changes to former members too."""

    def deliver_change(self, actor: FakeClient, event: Event) -> None:
        for client in self.clients:
            if (
                client is not actor
                and client.reads(event.change.chat_id)
                and is_visible(event.change, client.me.user_id)
            ):
                client.queue.put(event, 0)


class LosesEdits(GroupPlatform):
    """Does not deliver the edits of messages of groups."""

    plan = replace(GROUPS, messages=1_600, rate=80.0, changes=100)
    """Each sender uses each script for a message to a group: fewer may be without an edit."""

    def deliver_change(self, actor: FakeClient, event: Event) -> None:
        if not (event.change.HasField("edited") and is_group(event.change.chat_id)):
            super().deliver_change(actor, event)


class LosesAChange(GroupPlatform):
    """Answers a control change that is not stored."""

    def store(self, message: Message) -> None:
        if message.control.version != 9:
            super().store(message)


@pytest.mark.parametrize(
    ("platform", "kinds"),
    [
        (DeliversToRemoved, {Kind.OUTSIDE}),
        pytest.param(MissesNewcomers, {Kind.NOT_DELIVERED}, marks=pytest.mark.slow),
        pytest.param(ShowsAll, {Kind.OUTSIDE, Kind.READABLE, Kind.WRONG_STATE}, marks=pytest.mark.slow),
        pytest.param(DeliversChangesToRemoved, {Kind.OUTSIDE}, marks=pytest.mark.slow),
        pytest.param(LosesEdits, {Kind.WRONG_STATE}, marks=pytest.mark.slow),
        pytest.param(LosesAChange, {Kind.LOST, Kind.FORKED}, marks=pytest.mark.slow),
    ],
)
async def test_a_broken_promise_about_members_is_found(
    platform: type[GroupPlatform], kinds: set[Kind], autojump_clock: MockClock
) -> None:
    result = await verify(platform(), platform.plan)
    assert {violation.kind for violation in result.violations} == kinds, result.violations[:3]
