"""The members of groups at each moment of a run, and the violations of the promises about them. Pure: records in,
violations out."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from rookery.client import Change, Control, Member, Span
from rookery.verify.records import Copy, GroupRecord, Made, Records, Sent, View, mentions_of
from rookery.verify.violations import Kind, Violation
from shared.contract.groups import OPEN, is_within, members_after

UNKNOWN_SECONDS = 5.0
"""Seconds after the answer to a control change, in which gateways may not know it: the gateway of a new member refuses
a send, and other gateways send messages without regard to the new member, who receives them later, in any order."""

UNRECORDED_SECONDS = 60.0
"""Seconds after the answer to a removal, in which archives may not have recorded it, and return newer messages to the
removed user who reads after a Gap. Sessions have no such time: the log has the removal before its answer, and so before
every message that is sent later."""


class Membership:
    """The members of all groups, as the control changes made them."""

    def __init__(self, records: Records) -> None:
        self._controls: dict[str, Mapping[int, Sent]] = {}
        """The accepted control changes of each group, by event id."""
        self._members: dict[str, Mapping[int, Member]] = {}
        self._stay: dict[str, Collection[int]] = {}
        """The members of each group throughout."""
        self._open_at: dict[str, Collection[int]] = {}
        """The users whose clients have each channel open."""
        self._behind = records.behind
        self._unanswered: set[tuple[str, int]] = set()
        """The groups and users of control changes without an answer, whose messages have unknown client ids."""
        for group in records.groups:
            self._unanswered |= {
                (group.chat_id, each.key[0]) for each in group.controls if not each.is_accepted and not each.refused
            }
            accepted = {each.message_id: each for each in group.controls if each.is_accepted}
            self._controls[group.chat_id] = accepted
            recorded = [copy.control for copy in records.histories.get((group.owner_id, group.chat_id), ())]
            self._stay[group.chat_id] = group.stay
            if group.open_at is not None:
                self._open_at[group.chat_id] = group.open_at
            self._members[group.chat_id] = fold([*recorded, *(each.control for each in accepted.values())])

    def members(self, chat_id: str) -> Mapping[int, Member]:
        """The present and former members of a group, by user; none of a direct chat."""
        return self._members.get(chat_id, {})

    def allows(self, chat_id: str, user_id: int, event_id: int) -> bool:
        """Whether a user may read an event. Of direct chats, always: other users never read them."""
        if chat_id not in self._members:
            return True
        member = self._members[chat_id].get(user_id)
        return member is not None and is_within(member.spans, event_id)

    def shows_deletion(self, change: Change, user_id: int) -> bool:
        """Whether a change is a deletion that a user may read as they may read its message, wherever its own id is."""
        return change.HasField("deleted") and self.allows(change.chat_id, user_id, change.target_id)

    def has_changes(self, sent: Sent, user_id: int) -> bool | None:
        """Whether a user receives all changes of a message and of its chat; None if they receive some of them."""
        if sent.chat_id not in self._members:
            return user_id in (sent.recipient_id, sent.key[0])
        if user_id not in self.members(sent.chat_id):
            return False
        return True if user_id in self._stay[sent.chat_id] and self.has_open(sent.chat_id, user_id) else None

    def has_open(self, chat_id: str, user_id: int) -> bool:
        """Whether the client of a member gets each event of a chat. Of a channel, those clients that have it open."""
        return chat_id not in self._open_at or user_id in self._open_at[chat_id]

    def may_be_unanswered(self, copy: Copy) -> bool:
        """Whether a control change may be one that a client requested without an answer."""
        return copy.control is not None and (copy.chat_id, copy.key[0]) in self._unanswered

    def may_come_late(self, sent: Sent, user_id: int) -> bool:
        """Whether a user may have become a member of the group when the message was sent, and be sent it afterwards."""
        spans = self.members(sent.chat_id).get(user_id, Member()).spans
        joined = max((span.first for span in spans if span.first <= sent.message_id), default=0)
        control = self._controls.get(sent.chat_id, {}).get(joined)
        if control is None or control.control is None:
            return sent.chat_id in self._members  # without an answer
        return control.control.version > 1 and sent.at <= control.accepted_at + UNKNOWN_SECONDS

    def has_order(self, sent: Sent) -> bool:
        """Whether a message must not come after a later one of its sender: not if the server need not have held later
        ones back. It holds none back for a message that it refused for good, such as one of a user who was not a
        member; a client that did not receive this refusal sends the message again, and may be a member by then."""
        return not sent.is_overdue and not self.may_come_late(sent, sent.key[0])

    def recipients(self, sent: Sent) -> Sequence[int]:
        """The users who must receive an accepted message, or control change, of others."""
        if sent.recipient_id:
            return [sent.recipient_id]
        return [
            user
            for user, each in self.members(sent.chat_id).items()
            if user != sent.key[0]
            and is_within(each.spans, sent.message_id)
            and (self.has_open(sent.chat_id, user) or (concerns(sent, user) and not self.may_miss(sent, user)))
        ]

    def may_miss(self, event: Sent | Made, user_id: int) -> bool:
        """Whether the session of a user's client may lack an event of a channel, since it came before the Follow after
        a Gap: the client reads it once it opens the channel."""
        chat_id = event.change.chat_id if isinstance(event, Made) else event.chat_id
        return event.at <= self._behind.get((user_id, chat_id), -math.inf)

    def outside(
        self, sent: Sent | Made | None, copy: Copy, user_id: int, where: str, *, seconds: float | None
    ) -> Iterator[Violation]:
        """Report a copy that its receiver may not read: a private change of another user, or an event of a group at
        which the user was no member. With `seconds`, not an event that was sent less than so long after the answer to
        the user's removal: no server can detect this."""
        if isinstance(sent, Made) and sent.is_private and sent.change.actor_id != user_id:
            yield Violation(Kind.OUTSIDE, f"{copy.key[1]} of {copy.key[0]}, which is private, is {where}")
            return
        if sent is None or self.allows(copy.chat_id, user_id, copy.message_id):
            return
        spans = self._members[copy.chat_id][user_id].spans if user_id in self._members[copy.chat_id] else ()
        removal = max((span.last for span in spans if OPEN != span.last < copy.message_id), default=0)
        if removal and seconds is not None:
            control = self._controls[copy.chat_id].get(removal)
            if sent.at <= (math.inf if control is None else control.accepted_at) + seconds:
                return
        shown = ", ".join(f"{span.first} to {span.last or 'now'}" for span in spans) or "never"
        text = f"{copy.key[1]} of {copy.key[0]}, id {copy.message_id}, is {where}, a member from {shown}"
        yield Violation(Kind.OUTSIDE, text)


def concerns(event: Sent | Made, user_id: int) -> bool:
    """Whether a user receives an event of a channel that is not open: its author, those whom it mentions, and those who
    join, leave or change by it."""
    if isinstance(event, Made):
        return user_id in (event.change.actor_id, *mentions_of(event.change.edited.text))
    changed = event.control.members if event.control is not None else ()
    return user_id in (event.key[0], *event.mentions, *(each.user_id for each in changed))


def fold(controls: Iterable[Control | None]) -> Mapping[int, Member]:
    """The members after control changes in any order: the value of the highest version stays."""
    members: dict[int, Member] = {}
    for control in controls:
        for user_id, member in members_after(control).items() if control is not None else ():
            if user_id not in members or members[user_id].version < member.version:
                members[user_id] = member
    return members


def check_groups(records: Records, membership: Membership) -> Iterator[Violation]:
    """Check versions, the members that each user is shown, spans, and refusals."""
    for group in records.groups:
        yield from _forked(records, group)
        yield from _other_members(group, membership.members(group.chat_id), _newest(records, group))
        yield from _other_spans(group)
        yield from _refused(records, group)


def _copies(records: Records, chat_id: str) -> Iterator[Copy]:
    """All copies of control changes of a group, the ones of histories first."""
    for (_, other), copies in records.histories.items():
        if other == chat_id:
            yield from (copy for copy in copies if copy.control is not None)
    for deliveries in records.deliveries.values():
        yield from (each.copy for each in deliveries if each.copy.chat_id == chat_id and each.copy.control is not None)


def _newest(records: Records, group: GroupRecord) -> int:
    """The highest version in history as the owner reads it."""
    copies = records.histories.get((group.owner_id, group.chat_id), ())
    return max((copy.control.version for copy in copies if copy.control is not None), default=0)


def _forked(records: Records, group: GroupRecord) -> Iterator[Violation]:
    ids: dict[int, int] = {}
    for copy in _copies(records, group.chat_id):
        version = 0 if copy.control is None else copy.control.version
        if (first := ids.setdefault(version, copy.message_id)) != copy.message_id:
            yield Violation(Kind.FORKED, f"{group.chat_id} has {first} and {copy.message_id} as version {version}")
    history = records.histories.get((group.owner_id, group.chat_id), ())
    versions = [copy.control.version for copy in history if copy.control is not None]
    if history and versions != [*range(1, len(versions) + 1)]:
        yield Violation(Kind.FORKED, f"{group.chat_id} has the versions {versions} in the history of its owner")


def _other_members(group: GroupRecord, members: Mapping[int, Member], newest: int) -> Iterator[Violation]:
    roles = {user_id: member.role for user_id, member in members.items() if member.role}
    for user_id, member in members.items():
        view = group.views.get(user_id)
        right = View(newest, member, roles) if member.role else View(member.version, member, {})
        if view != right:
            text = f"{group.chat_id} has for {user_id} {_shown(view)}, and should have {_shown(right)}"
            yield Violation(Kind.OTHER_MEMBERS, text)


def _shown(view: View | None) -> str:
    if view is None:
        return "no answer"
    spans = ", ".join(f"{span.first} to {span.last or 'now'}" for span in view.own.spans)
    return f"version {view.version}, role {view.own.role} from {spans}, and {len(view.roles)} members"


def _other_spans(group: GroupRecord) -> Iterator[Violation]:
    """Find the control changes by which a user joins or leaves, and the user's span does not begin or end with them."""
    for each in group.controls:
        for member in each.control.members if each.control is not None else ():
            span = member.spans[-1] if member.spans else Span()
            right = (each.message_id, OPEN) if member.role else (span.first, each.message_id)
            if bool(member.role) != bool(member.former_role) and (span.first, span.last) != right:
                name = f"{member.user_id} joined or left {group.chat_id} by {each.message_id}"
                yield Violation(Kind.OTHER_MEMBERS, f"{name}, with a span from {span.first} to {span.last or 'now'}")


def _refused(records: Records, group: GroupRecord) -> Iterator[Violation]:
    """Find control changes that were refused, or not answered on any retry, and refused messages of users whose
    membership is certain."""
    for each in group.controls:
        name = f"{each.key[1]} of {each.key[0]}"
        if each.refused:
            yield Violation(Kind.NOT_ACCEPTED, f"{name} was refused: {each.refused}")
        elif each.retried and not each.is_accepted:
            yield Violation(Kind.NOT_ACCEPTED, f"{name} was refused or not answered, and every retry too")
    for each in records.sent.values():
        if each.chat_id != group.chat_id or not each.refused or each.is_control:
            continue
        if each.refused not in ("not_found", "forbidden") or is_certain(group, each.key[0], each.at, each.refused_at):
            text = f"{each.key[1]} of {each.key[0]}, a member of {group.chat_id}, was refused: {each.refused}"
            yield Violation(Kind.NOT_ACCEPTED, text)


def is_certain(group: GroupRecord, user_id: int, begin: float, end: float) -> bool:
    """Whether a user was a member all the time between two moments, and every gateway knew it."""
    joined = math.inf
    for each in group.controls:
        member = members_after(each.control).get(user_id) if each.control is not None else None
        if each.control is None and not each.refused and each.at <= end:
            return False  # it may have been a removal of the user
        if member is None:
            continue
        if member.role and each.accepted_at + UNKNOWN_SECONDS <= begin:
            joined = min(joined, each.accepted_at)
        if not member.role and each.at <= end:
            if each.accepted_at >= begin:
                return False
            joined = math.inf
    return joined < math.inf
