"""Groups: roles, permissions and membership, and the fold of control changes into a roster."""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntFlag
from functools import cached_property
from typing import cast

import msgspec

from rookery.v1 import groups_pb2
from rookery.v1.archive_pb2 import Group
from rookery.v1.groups_pb2 import (
    ROLE_ADMIN,
    ROLE_GUEST,
    ROLE_MEMBER,
    ROLE_OWNER,
    Control,
    GroupSettings,
    Invite,
    Member,
    Span,
)
from shared.contract.ids import time_of
from shared.contract.known_members import KnownMembers

MAX_MEMBERS = 1_000
"""Members of a group that is no channel: each record of its events lists the recipients."""

MAX_EVER = 5_000
"""Present and former members of a group that is no channel: see archive.proto."""

MAX_CHANNEL_MEMBERS = 100_000
"""Members of a channel."""

MAX_LOOKED_UP = 1_000
"""Members of a channel that one request looks up: see archive.proto."""

MAX_NAME_BYTES = 128
MAX_TOPIC_BYTES = 1_024
"""See groups.proto."""

MAX_QUERY = 64
"""Characters of a search for public groups: see archive.proto."""

MAX_INVITES = 100
"""Invite links of a group that are kept: see archive.proto."""

MAX_USES = 10_000
"""Limit of an invite link's `max_uses`: see groups.proto."""

MAX_INVITE_MS = 365 * 24 * 3600 * 1000
"""How long an invite link that ends lasts at most: see group_service.proto."""

MAX_ASKING = 200
"""Users who wait to be added to a group at once: see groups.proto."""

MAX_SPANS = 20
"""Spans of a member that are kept: see groups.proto."""

RECENTLY_MS = 600_000
"""How long the partition of a former member gets the control changes: longer than its gateway needs to read that they
left. Until then it may publish their events."""

OPEN = 0
"""`Span.last` of a user who is a member."""


class Permission(IntFlag):
    """The permissions of groups.proto. A mask is a sum of them."""

    POST = groups_pb2.PERMISSION_POST
    REACT = groups_pb2.PERMISSION_REACT
    PIN = groups_pb2.PERMISSION_PIN
    ADD_MEMBERS = groups_pb2.PERMISSION_ADD_MEMBERS
    EDIT_SETTINGS = groups_pb2.PERMISSION_EDIT_SETTINGS
    DELETE_MESSAGES = groups_pb2.PERMISSION_DELETE_MESSAGES
    REMOVE_MEMBERS = groups_pb2.PERMISSION_REMOVE_MEMBERS
    MANAGE = groups_pb2.PERMISSION_MANAGE
    MENTION_EVERYONE = groups_pb2.PERMISSION_MENTION_EVERYONE


PERMISSION_TEXTS = {
    Permission.POST: "post messages",
    Permission.REACT: "react to messages",
    Permission.PIN: "pin messages",
    Permission.ADD_MEMBERS: "add members",
    Permission.EDIT_SETTINGS: "change the name, the topic and the picture",
    Permission.DELETE_MESSAGES: "delete messages of others",
    Permission.REMOVE_MEMBERS: "remove members",
    Permission.MANAGE: "manage roles, permissions and history",
    Permission.MENTION_EVERYONE: "mention everyone",
}
"""The actions that each permission allows, as phrases."""

NO_PERMISSIONS = Permission(0)
ALL_PERMISSIONS = Permission(sum(Permission))

DEFAULT_PERMISSIONS = (
    Permission.POST | Permission.REACT | Permission.PIN | Permission.ADD_MEMBERS | Permission.EDIT_SETTINGS
)
"""The permissions of members in a new group, unless its creation sets others."""

GUEST_PERMISSIONS = Permission.POST | Permission.REACT
"""The permissions that guests have, as far as the group's settings grant them."""

DIRECT_PERMISSIONS = Permission.POST | Permission.REACT | Permission.PIN
"""The permissions of both members of a direct chat."""


def permissions_of(settings: GroupSettings, member: Member) -> Permission:
    """The permissions of a member: the permissions of the role, plus `allow`, minus `deny`. The owner has all."""
    role = member.role
    if role == ROLE_OWNER:
        return ALL_PERMISSIONS
    if role == groups_pb2.ROLE_UNSPECIFIED:
        return NO_PERMISSIONS
    granted = settings.permissions
    if role == ROLE_ADMIN:
        granted = ALL_PERMISSIONS
    elif role == ROLE_GUEST:
        granted &= GUEST_PERMISSIONS
    return Permission((granted | member.allow) & ~member.deny & ALL_PERMISSIONS)


def is_within(spans: Iterable[Span], event_id: int) -> bool:
    """Whether an event with this id is in one of the spans."""
    return any(span.first <= event_id and (span.last == OPEN or event_id <= span.last) for span in spans)


class Roster(msgspec.Struct, dict=True):
    """A group as after one of its control changes. The roster of a channel has only some of its members: of the members
    that were looked up or changed, the last ones."""

    chat_id: str
    version: int
    settings: GroupSettings
    members: Mapping[int, Member]
    """Present and former members, by user. Of a channel, also users who were looked up and never were members."""
    member_count: int
    """The number of all members."""
    invites: dict[int, Invite]
    """The invite links, by id, the oldest first: MAX_INVITES at most."""
    since: int
    """Every user who joined, left or changed in a later version is in `members`."""

    @classmethod
    def of(cls, group: Group, user_ids: Iterable[int] = ()) -> "Roster":
        """The roster of a stored group. Of a channel, these users were looked up."""
        members = {each.user_id: each for each in group.members}
        if group.settings.is_channel:
            members = found_members(group, user_ids)
        invites = {each.invite_id: each for each in sorted(group.invites, key=lambda invite: invite.invite_id)}
        version = group.version
        return cls._with(group.chat_id, version, group.settings, members, group.member_count, invites, version)

    @property
    def is_channel(self) -> bool:
        return self.settings.is_channel

    @cached_property
    def present(self) -> frozenset[int]:
        """The users of `members` who are members now. In a channel, to read this takes milliseconds."""
        return frozenset(user_id for user_id, member in self.members.items() if member.role)

    def __contains__(self, user_id: object) -> bool:
        """Whether the user is a member now, as far as the roster knows."""
        if not self.is_channel:
            return user_id in self.present
        return user_id in self.members and bool(self.members[cast(int, user_id)].role)

    def knows(self, user_ids: Iterable[int]) -> bool:
        """Whether the roster states of each of these users that they are a member, or that they are none."""
        return not self.is_channel or all(user_id in self.members for user_id in user_ids)

    def knowing(self, found: Mapping[int, Member]) -> "Roster":
        """The roster of a channel with members that were looked up in it, in version `since` or a later one. A member
        that it has in a newer version stays."""
        newer = newer_members(self.members, found)
        return self._with(
            self.chat_id, self.version, self.settings, self.members, self.member_count, self.invites, self.since, newer
        )

    def keeping(self, limit: int) -> "Roster":
        """Return the roster of a channel with `limit` members: all users with a join request, and the members that were
        looked up or changed last."""
        members, version = KnownMembers.of(self.members).last(limit)
        if members is self.members:
            return self
        since = max(self.since, version)
        return self._with(self.chat_id, self.version, self.settings, members, self.member_count, self.invites, since)

    def after(self, control: Control) -> "Roster":
        """The roster after the next control change. Raises ValueError if the change is not the next one."""
        if control.version != self.version + 1:
            raise ValueError(f"the control change must have version {self.version + 1}, not {control.version}")
        return self._with(
            self.chat_id,
            control.version,
            control.settings if control.HasField("settings") else self.settings,
            self.members,
            control.member_count,
            invites_after(self.invites, control.invites),
            self.since if self.is_channel else self.version,
            members_after(control),
        )

    @classmethod
    def created(cls, chat_id: str, control: Control) -> "Roster":
        """The roster after the creation. Raises ValueError if the change is not a creation."""
        return cls.empty(chat_id).after(control)

    @classmethod
    def empty(cls, chat_id: str) -> "Roster":
        """The roster of a group that is not created yet."""
        return cls(chat_id, 0, GroupSettings(), {}, 0, {}, 0)

    @classmethod
    def _with(
        cls,
        chat_id: str,
        version: int,
        settings: GroupSettings,
        members: Mapping[int, Member],
        member_count: int,
        invites: dict[int, Invite],
        since: int,
        changed: Mapping[int, Member] | None = None,
    ) -> "Roster":
        """A roster of these members, after they `changed`. `since` counts in a channel, as does `member_count`."""
        changed = changed or {}
        if settings.is_channel:
            known = KnownMembers.of(members)
            return cls(chat_id, version, settings, known.after(changed.values()), member_count, invites, since)
        kept = {**members, **changed}
        for user_id, member in changed.items():
            if not is_kept(member):
                del kept[user_id]
        roster = cls(chat_id, version, settings, kept, 0, invites, version)
        roster.member_count = len(roster.present)
        return roster

    def permissions(self, user_id: int) -> Permission:
        """The permissions of a user; none if they are not a member."""
        member = self.members.get(user_id)
        return NO_PERMISSIONS if member is None else permissions_of(self.settings, member)

    def may_invite(self, user_id: int) -> bool:
        """Whether users may join by invite links of this user: they become members, and guests add guests only."""
        member = self.members.get(user_id)
        return member is not None and member.role >= ROLE_MEMBER and Permission.ADD_MEMBERS in self.permissions(user_id)

    def was_member(self, user_id: int) -> bool:
        """Whether the user is a member or was one: not if they only asked to join."""
        member = self.members.get(user_id)
        return member is not None and bool(member.spans)

    def spans(self, user_id: int) -> Sequence[Span]:
        """When the user was a member, oldest first."""
        member = self.members.get(user_id)
        return () if member is None else member.spans

    def includes(self, user_id: int, event_id: int) -> bool:
        """Whether the user was a member at the event with this id."""
        return is_within(self.spans(user_id), event_id)

    def asking(self) -> list[Member]:
        """The users who have asked to join, in the order in which they did."""
        users = self.members.asking if isinstance(self.members, KnownMembers) else self.members
        asking = (member for user_id in users if (member := self.members[user_id]).asked_at_ms)
        return sorted(asking, key=lambda member: (member.asked_at_ms, member.user_id))

    def usable_invite(self, secret_hash: bytes, at_ms: int, user_id: int) -> Invite | None:
        """The invite link with this hash, if this user may join by it at this time (milliseconds since 1970). The use
        of the user's own request to join does not count."""
        waiting = self.members.get(user_id, Member())
        for invite in self.invites.values():
            own_uses = int(invite.invite_id == waiting.invite_id)
            if invite.secret_hash == secret_hash and self.is_usable(invite, at_ms, own_uses):
                return invite
        return None

    def is_usable(self, invite: Invite, at_ms: int, own_uses: int = 0) -> bool:
        """Whether a user may join by the invite link at this time (milliseconds since 1970): it has not ended, and its
        creator may invite. The `own_uses` of this user do not count."""
        return not has_ended(invite, at_ms, own_uses) and self.may_invite(invite.creator_id)

    def recently_left(self, event_id: int) -> list[int]:
        """The former members who left in the RECENTLY_MS before the event with this id; ascending. Not of a channel,
        whose events are in every partition."""
        if self.is_channel:
            return []
        since_ms = time_of(event_id) - RECENTLY_MS
        return sorted(
            user_id
            for user_id, member in self.members.items()
            if not member.role and any(time_of(span.last) > since_ms for span in member.spans)
        )


def has_ended(invite: Invite, at_ms: int, own_uses: int = 0) -> bool:
    """Whether the invite link was revoked, or has ended by time (milliseconds since 1970) or by its uses without the
    `own_uses` of a user."""
    uses = invite.uses - own_uses
    return invite.is_revoked or 0 < invite.expires_at_ms <= at_ms or 0 < invite.max_uses <= uses


def invites_after(before: Mapping[int, Invite], changed: Iterable[Invite]) -> dict[int, Invite]:
    """The invite links after these were created or changed, the oldest first. Of more than MAX_INVITES, the ones that
    were revoked first go."""
    invites = {**before, **{invite.invite_id: invite for invite in changed}}
    surplus = max(len(invites) - MAX_INVITES, 0)
    for invite in sorted(invites.values(), key=lambda each: (not each.is_revoked, each.version))[:surplus]:
        del invites[invite.invite_id]
    return invites


def is_kept(member: Member) -> bool:
    """Whether a group has this member: not a user who asked to join, never was a member, and does not ask any more."""
    return bool(member.role or member.spans or member.asked_at_ms)


def changed_id(members: Iterable[Member]) -> int:
    """The highest id by which one of the members joined or left; 0 if none ever did."""
    return max((max(span.first, span.last) for member in members for span in member.spans), default=0)


def members_after(control: Control) -> dict[int, Member]:
    """The members that a control change changes, as they are after it, by user."""
    members: dict[int, Member] = {}
    for changed in control.members:
        member = members[changed.user_id] = Member()
        member.CopyFrom(changed)
        member.ClearField("former_role")
        if not member.asked_at_ms:
            member.ClearField("invite_id")
    return members


def newer_members(known: Mapping[int, Member], found: Mapping[int, Member]) -> dict[int, Member]:
    """The found members that are not known, or known in an older version."""
    return {
        user_id: member
        for user_id, member in found.items()
        if (before := known.get(user_id)) is None or before.version < member.version
    }


def found_members(group: Group, user_ids: Iterable[int]) -> dict[int, Member]:
    """The members of a stored group, in which these users were looked up, by user. Those of the users who are none of
    its members are Members without a role and a span."""
    members = {user_id: Member(user_id=user_id) for user_id in user_ids}
    return members | {each.user_id: each for each in group.members}


def audience(before: Roster, control: Control, actor_id: int) -> Sequence[int]:
    """The recipients of a control change by a user; ascending. In a group, the members before it, and the users who
    join by it. In a channel, the members whom it concerns: the actor, and the users who join, leave or change by it."""
    if before.is_channel:
        concerned = {each.user_id for each in control.members if each.role or each.former_role}
        return sorted(concerned | ({actor_id} if actor_id in before else set()))
    return sorted(before.present.union(member.user_id for member in control.members if member.role))
