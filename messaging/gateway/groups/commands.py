"""Decides on a request to change a group, sans I/O: the control change that it makes, or its refusal.

The form of the request is checked before: see `forms`. A refusal names the missing permission in words.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from messaging.gateway.groups.forms import has_values, role_of_added, settings_of_new
from rookery.v1.group_service_pb2 import (
    AddMembers,
    ChangeGroupRequest,
    ChangeMember,
    ChangeSettings,
    CreateGroup,
    CreateInvite,
)
from rookery.v1.groups_pb2 import (
    ROLE_ADMIN,
    ROLE_GUEST,
    ROLE_MEMBER,
    ROLE_OWNER,
    ROLE_UNSPECIFIED,
    Control,
    GroupSettings,
    Invite,
    Member,
    Role,
    Span,
)
from shared.contract.chats import no_such_chat
from shared.contract.errors import Code, Refusal
from shared.contract.groups import (
    MAX_ASKING,
    MAX_CHANNEL_MEMBERS,
    MAX_EVER,
    MAX_INVITE_MS,
    MAX_INVITES,
    MAX_MEMBERS,
    MAX_SPANS,
    OPEN,
    PERMISSION_TEXTS,
    Permission,
    Roster,
    has_ended,
    permissions_of,
)
from shared.contract.ids import MAX_AHEAD_MS, time_of
from shared.contract.joining import NO_LINK, secret_hash

ROLES = {
    ROLE_GUEST: "a guest",
    ROLE_MEMBER: "a member",
    ROLE_ADMIN: "an admin",
    ROLE_OWNER: "the owner",
}

_GUESTS_ONLY = "As a guest you can add guests only."

NOT_PUBLIC = Refusal(Code.NOT_FOUND, "There is no such public group.", "chat_id")


class _Decision(NamedTuple):
    """The facts that decide a request: the group before it, the user who makes it, and the id of the control change."""

    roster: Roster
    user_id: int
    event_id: int

    @property
    def now_ms(self) -> int:
        """The time of the control change, in milliseconds since 1970."""
        return time_of(self.event_id)

    @property
    def own(self) -> Member:
        """The user as a member."""
        return self.roster.members[self.user_id]

    def must_have(self, permission: Permission, field: str = "") -> Refusal | None:
        """The refusal of a request that needs a permission, if the user lacks it."""
        if permission in self.roster.permissions(self.user_id):
            return None
        return Refusal(Code.FORBIDDEN, f"You may not {PERMISSION_TEXTS[permission]} here.", field)

    def may_grant(self, permissions: int, field: str) -> Refusal | None:
        """The refusal of a request that grants these permissions, if the user lacks one of them."""
        missing = Permission(permissions) & ~self.roster.permissions(self.user_id)
        if not missing:
            return None
        first = next(each for each in Permission if each in missing)
        return Refusal(
            Code.FORBIDDEN, f"You may not {PERMISSION_TEXTS[first]} here, and can't allow it to others.", field
        )

    def present(self, user_id: int) -> Member | Refusal:
        """The member with this id, whom the request changes."""
        member = self.roster.members.get(user_id)
        if member is None or not member.role:
            return Refusal(Code.NOT_FOUND, "This user is not a member of the chat.", "user_id")
        return member

    def must_outrank(self, member: Member) -> Refusal | None:
        """The refusal of a request that changes another member, if their role is not below the user's."""
        if member.role < self.own.role:
            return None
        return Refusal(Code.FORBIDDEN, f"Your role is not above that of {ROLES[member.role]}.", "user_id")

    def after(self, member: Member) -> Member:
        """A copy of the member for a control change."""
        changed = Member()
        changed.CopyFrom(member)
        changed.former_role = member.role
        changed.version = self.roster.version + 1
        changed.asked_at_ms = changed.invite_id = 0
        return changed

    def known(self, user_id: int) -> Member:
        """The user's entry in the roster; without a role if it has none."""
        return self.roster.members.get(user_id) or Member(user_id=user_id)

    def used(self, invite: Invite) -> Invite:
        """The invite link after one more use."""
        changed = self.after_invite(invite)
        changed.uses += 1
        return changed

    def unused(self, member: Member) -> Sequence[Invite]:
        """The invite link by which the member has asked to join, after that use is given back; none if the group does
        not have it any more, or if it was revoked."""
        invite = self.roster.invites.get(member.invite_id)
        if invite is None or invite.is_revoked:
            return []
        changed = self.after_invite(invite)
        changed.uses -= 1
        return [changed]

    def revoked(self, invite: Invite) -> Invite:
        """The invite link after it was revoked."""
        changed = self.after_invite(invite)
        changed.is_revoked = True
        return changed

    def after_invite(self, invite: Invite) -> Invite:
        """A copy of the invite link for a control change."""
        changed = Invite()
        changed.CopyFrom(invite)
        changed.version = self.roster.version + 1
        return changed

    def room_for(self, user_ids: Collection[int], field: str = "") -> Refusal | None:
        """The refusal of a request by which these users join, the values of a field, if they are too many."""
        roster = self.roster
        count = roster.member_count + len(user_ids)
        if roster.is_channel:
            message = f"A channel has {MAX_CHANNEL_MEMBERS} members at most."
            return Refusal(Code.TOO_LARGE, message, field) if count > MAX_CHANNEL_MEMBERS else None
        if count > MAX_MEMBERS:
            message = f"A group has {MAX_MEMBERS} members at most: make it a channel first."
            return Refusal(Code.TOO_LARGE, message, field)
        if len(roster.members.keys() | set(user_ids)) > MAX_EVER:
            message = f"A group has {MAX_EVER} present and former members at most."
            return Refusal(Code.TOO_LARGE, message, field)
        return None

    def joined(self, user_id: int, role: Role) -> Member:
        """A user who joins, also again. Denied permissions stay denied: leaving does not restore them."""
        member = self.after(self.known(user_id))
        member.role, member.allow, member.was_removed, member.was_guest = role, 0, False, False
        del member.spans[: -MAX_SPANS + 1]
        member.spans.append(Span(first=self.event_id, last=OPEN))
        return member

    def left(self, member: Member) -> Member:
        """A member who leaves or is removed."""
        member = self.after(member)
        member.was_removed, member.was_guest = member.user_id != self.user_id, member.role == ROLE_GUEST
        member.role, member.allow = ROLE_UNSPECIFIED, 0
        member.spans[-1].last = self.event_id
        return member

    def control(
        self,
        *members: Member,
        settings: GroupSettings | None = None,
        changed: Sequence[str] = (),
        invites: Sequence[Invite] = (),
    ) -> Control:
        return Control(
            version=self.roster.version + 1,
            settings=settings,
            changed=changed,
            members=members,
            invites=invites,
            member_count=self.roster.member_count + sum(bool(each.role) - bool(each.former_role) for each in members),
        )


def decide(
    request: ChangeGroupRequest, user_id: int, roster: Roster, event_id: int, deleted: Collection[int] = ()
) -> Control | Refusal:
    """The control change with this id that the user's request makes of the roster, which is empty before the creation;
    or its refusal. The roster of a channel must know the users of `looked_up_users`, those who have asked to join, and
    the creators of the invite links. `deleted` has the users of `looked_up_asking` whose accounts are deleted."""
    kind = request.WhichOneof("change")
    decision = _Decision(roster, user_id, event_id)
    if kind == "join":
        return _join(decision, request.join.secret, deleted)
    withdraws = (
        kind == "decline_user" and request.decline_user.user_id == user_id and decision.known(user_id).asked_at_ms
    )
    if kind != "create" and user_id not in roster and not withdraws:
        return no_such_chat()
    if request.expected_version and request.expected_version != roster.version:
        message = f"The chat has version {roster.version} by now."
        return Refusal(Code.VERSION_CONFLICT, message, "expected_version")
    match kind:
        case "create":
            return _create(decision, request.create)
        case "add_members":
            return _add(decision, request.add_members)
        case "remove_member":
            return _remove(decision, request.remove_member.user_id)
        case "change_member":
            return _change_member(decision, request.change_member)
        case "change_settings":
            return _change_settings(decision, request.change_settings)
        case "decline_user":
            return _decline(decision, request.decline_user.user_id)
        case "create_invite":
            return _create_invite(decision, request.create_invite)
        case "revoke_invite":
            return _revoke_invite(decision, request.revoke_invite.invite_id)
        case kind:
            raise AssertionError(f"no handler of {kind}")


def _create(decision: _Decision, create: CreateGroup) -> Control | Refusal:
    if decision.roster.version:
        return Refusal(Code.VERSION_CONFLICT, "The group exists already.", "client_change_id")
    others = [decision.joined(user_id, ROLE_MEMBER) for user_id in create.user_ids]
    return decision.control(decision.joined(decision.user_id, ROLE_OWNER), *others, settings=settings_of_new(create))


def _add(decision: _Decision, add: AddMembers) -> Control | Refusal:
    if refusal := decision.must_have(Permission.ADD_MEMBERS):
        return refusal
    role, roster = role_of_added(add), decision.roster
    if role > decision.own.role:
        return Refusal(Code.FORBIDDEN, _GUESTS_ONLY, "role")
    for index, user_id in enumerate(add.user_ids):
        if user_id in roster:
            return Refusal(Code.INVALID, "This user is a member already.", f"user_ids[{index}]")
    if refusal := decision.room_for(add.user_ids, "user_ids"):
        return refusal
    return decision.control(*(decision.joined(user_id, role) for user_id in add.user_ids))


def _remove(decision: _Decision, user_id: int) -> Control | Refusal:
    if user_id == decision.user_id:
        if decision.own.role == ROLE_OWNER and decision.roster.member_count > 1:
            message = "The owner can't leave while there are other members: hand the group over first."
            return Refusal(Code.FORBIDDEN, message, "user_id")
        return decision.control(decision.left(decision.own))
    if refusal := decision.must_have(Permission.REMOVE_MEMBERS):
        return refusal
    member = decision.present(user_id)
    if isinstance(member, Refusal):
        return member
    return decision.must_outrank(member) or decision.control(decision.left(member))


def _change_member(decision: _Decision, change: ChangeMember) -> Control | Refusal:
    if refusal := decision.must_have(Permission.MANAGE):
        return refusal
    if change.user_id == decision.user_id:
        return Refusal(Code.FORBIDDEN, "Your own role and permissions are changed by others.", "user_id")
    member = decision.present(change.user_id)
    if isinstance(member, Refusal):
        return member
    if refusal := decision.must_outrank(member):
        return refusal
    if has_values(member, change):
        return Refusal(Code.INVALID, "The member has these values already.", change.ListFields()[-1][0].name)
    after = decision.after(member)
    for field, value in change.ListFields():
        setattr(after, field.name, value)
    if refusal := _check_grants(decision, member, after):
        return refusal
    if after.role != ROLE_OWNER:
        return decision.control(after)
    former = decision.after(decision.own)
    former.role = ROLE_ADMIN
    return decision.control(after, former)


def _check_grants(decision: _Decision, before: Member, after: Member) -> Refusal | None:
    """The refusal of a change by which a member gets a role above the user's, or a permission that the user lacks."""
    if after.role > decision.own.role:
        return Refusal(Code.FORBIDDEN, f"You can't make a member {ROLES[after.role]}: it is above your role.", "role")
    settings = decision.roster.settings
    return (
        decision.may_grant(after.allow & ~before.allow, "allow")
        or decision.may_grant(before.deny & ~after.deny, "deny")
        or decision.may_grant(permissions_of(settings, after) & ~permissions_of(settings, before), "role")
    )


def _change_settings(decision: _Decision, change: ChangeSettings) -> Control | Refusal:
    before, after = decision.roster.settings, GroupSettings()
    after.CopyFrom(before)
    changed: list[str] = []
    for field in change.DESCRIPTOR.fields:
        name = field.name
        if not change.HasField(name):
            continue
        permission = Permission.EDIT_SETTINGS if name in ("name", "topic", "avatar") else Permission.MANAGE
        if refusal := decision.must_have(permission, name):
            return refusal
        if getattr(change, name) != getattr(before, name):
            changed.append(name)
            setattr(after, name, getattr(change, name))
    if not changed:
        return Refusal(Code.INVALID, "The settings have these values already.", change.ListFields()[0][0].name)
    if refusal := decision.may_grant(after.permissions & ~before.permissions, "permissions"):
        return refusal
    return decision.control(settings=after, changed=changed)


def looked_up_asking(request: ChangeGroupRequest, roster: Roster) -> list[int]:
    """The users with a join request, if the decision needs the deleted accounts among them: in a group with MAX_ASKING
    join requests, the request of a deleted account makes room for a new one."""
    asking = roster.asking() if request.HasField("join") else []
    return [member.user_id for member in asking] if len(asking) >= MAX_ASKING else []


def _join(decision: _Decision, secret: str, deleted: Collection[int]) -> Control | Refusal:
    """The control change by which the user joins or asks to join; a removed user can only ask, and a former guest joins
    as a guest. A user without the right to do either gets one refusal, whatever the reason. If too many wait, it
    declines the first one of the `deleted` accounts."""
    roster, settings, user_id = decision.roster, decision.roster.settings, decision.user_id
    invite = roster.usable_invite(secret_hash(secret), decision.now_ms, user_id) if secret else None
    if invite is None and (secret or not settings.is_public or not roster.member_count):
        return NO_LINK if secret else NOT_PUBLIC
    known = decision.known(user_id)
    if known.role:
        return Refusal(Code.INVALID, "You are a member already.")
    if refusal := decision.room_for([user_id]):
        return refusal
    declined: list[Member] = []
    if settings.asks_to_join or known.was_removed:
        if known.asked_at_ms:
            return Refusal(Code.INVALID, "You have asked to join already.")
        asking = roster.asking()
        if len(asking) >= MAX_ASKING:
            declined = [each for each in asking if each.user_id in deleted][:1]
            if not declined:
                return Refusal(Code.TOO_LARGE, f"{MAX_ASKING} users wait already to be added: try again later.")
        member = decision.after(known)
        member.asked_at_ms = decision.now_ms
    else:
        member = decision.joined(user_id, ROLE_GUEST if known.was_guest else ROLE_MEMBER)
    invites = {each.invite_id: each for ended in (known, *declined) for each in decision.unused(ended)}
    if invite is not None:
        member.invite_id = invite.invite_id
        invites[invite.invite_id] = decision.used(invites.get(invite.invite_id, invite))
    return decision.control(member, *map(decision.after, declined), invites=[*invites.values()])


def _decline(decision: _Decision, user_id: int) -> Control | Refusal:
    if user_id != decision.user_id and (refusal := decision.must_have(Permission.ADD_MEMBERS)):
        return refusal
    known = decision.known(user_id)
    if not known.asked_at_ms:
        return Refusal(Code.NOT_FOUND, "This user has not asked to join.", "user_id")
    return decision.control(decision.after(known), invites=decision.unused(known))


def _create_invite(decision: _Decision, create: CreateInvite) -> Control | Refusal:
    if refusal := decision.must_have(Permission.ADD_MEMBERS):
        return refusal
    roster, now_ms = decision.roster, decision.now_ms
    if not roster.may_invite(decision.user_id):
        return Refusal(Code.FORBIDDEN, _GUESTS_ONLY)
    latest_ms = now_ms + MAX_INVITE_MS + MAX_AHEAD_MS  # the BFF adds the duration to its own clock, which may be ahead
    if create.expires_at_ms and not now_ms < create.expires_at_ms <= latest_ms:
        return Refusal(Code.INVALID, "An invite link ends within the next year, or never.", "expires_at_ms")
    invite = Invite(
        invite_id=decision.event_id,
        secret_hash=create.secret_hash,
        creator_id=decision.user_id,
        expires_at_ms=create.expires_at_ms,
        max_uses=create.max_uses,
        version=roster.version + 1,
    )
    if len(roster.invites) < MAX_INVITES or any(each.is_revoked for each in roster.invites.values()):
        return decision.control(invites=[invite])
    unusable = [each for each in roster.invites.values() if not roster.is_usable(each, now_ms)]
    if not unusable:
        return Refusal(Code.TOO_LARGE, f"A group has {MAX_INVITES} invite links at most: revoke one first.")
    # The others work again if their creators may add members again.
    replaced = next((each for each in unusable if has_ended(each, now_ms)), unusable[0])
    return decision.control(invites=[decision.revoked(replaced), invite])


def _revoke_invite(decision: _Decision, invite_id: int) -> Control | Refusal:
    invite = decision.roster.invites.get(invite_id)
    if invite is None:
        return Refusal(Code.NOT_FOUND, "There is no such invite link.", "invite_id")
    if invite.creator_id != decision.user_id and decision.must_have(Permission.MANAGE):
        message = "An invite link is revoked by its creator, or by a member who may manage the group."
        return Refusal(Code.FORBIDDEN, message, "invite_id")
    if invite.is_revoked:
        return Refusal(Code.INVALID, "This invite link was revoked already.", "invite_id")
    return decision.control(invites=[decision.revoked(invite)])
