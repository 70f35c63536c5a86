"""The changes of a verification: which messages are changed and how, and the states that they must have at the end."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from rookery.client import Change, Event, State, apply_change
from rookery.v1.session_pb2 import Deleted, Edited, Mention, Muted, Previewed, Reacted, Text
from rookery.verify.membership import Membership
from rookery.verify.plan import GROUP_EVERY
from rookery.verify.records import Made, Place, Sent, place_of
from shared.contract.changes import LISTED, TOGGLED, kind_of, toggle
from shared.contract.ids import MAX_ID, wall_clock_ms


class Script(msgspec.Struct, frozen=True):
    """The changes of one message, in the order in which each member makes theirs."""

    by_sender: Sequence[Change] = ()
    """The changes by the sender, made after the acceptance of the message."""
    by_recipient: Sequence[Change] = ()
    """The changes by the recipient, or in a group by the partner of the sender, made after the acceptance and the
    delivery of the message."""


def _edited(text: str) -> Change:
    """The edit of a text, in which `@you` is the recipient of the message."""
    return Change(edited=Edited(text=Text(body=text, mentions=[Mention(name="you")] if "@you" in text else [])))


def _reacted(is_set: bool) -> Change:
    return Change(reacted=Reacted(emoji="👍", set=is_set))


def _muted(until_ms: int) -> Change:
    return Change(muted=Muted(until_ms=until_ms, except_mentions=True))


DELETED = Change(deleted=Deleted())

SCRIPTS = (
    Script(by_sender=[_edited("once"), _edited("twice for @you")]),
    Script(by_recipient=[_reacted(True)]),
    Script(by_sender=[_edited("before the deletion"), DELETED], by_recipient=[_reacted(True)]),
    Script(by_recipient=[_reacted(True), _reacted(False)]),
    Script(by_sender=[DELETED]),
    Script(by_sender=[toggle(kind, True) for kind in LISTED] + [DELETED]),
    Script(by_sender=[Change(previewed=Previewed())]),
    Script([_muted(MAX_ID)], [_muted(MAX_ID), _muted(0)]),
    *(Script([toggle(kind, True)], [toggle(kind, False), toggle(kind, True)]) for kind in TOGGLED),
    *(Script([toggle(kind, True), toggle(kind, False)], [toggle(kind, True)]) for kind in TOGGLED),
)
"""Each is used for the same share of the changed messages."""

SENDERS_APART = 7
"""Scripts between the first ones of two clients, whose user ids follow each other."""


def script_of(sent: Sent, percent: float) -> Script | None:
    """Return the script of a message, if so many percent of each sender's messages are changed, and as many of those
    to groups."""
    number = sent.number if sent.recipient_id else sent.number // GROUP_EVERY
    before, after = (int(each * percent / 100) for each in (number, number + 1))
    return script_at(sent.key[0], before) if after > before else None


def script_at(user_id: int, number: int) -> Script:
    """Return the script of a sender's changed message, by its number. Senders begin apart, so that few messages of few
    senders use all scripts."""
    return SCRIPTS[(SENDERS_APART * user_id + number) % len(SCRIPTS)]


def changes_of(sent: Sent, actor_id: int, script: Script) -> Iterator[Made]:
    """Yield the changes that a member makes to an accepted message."""
    for number, body in enumerate(script.by_sender if actor_id == sent.key[0] else script.by_recipient):
        kind = kind_of(body)
        target_id = 0 if kind and kind.is_of_chat else sent.message_id
        client_id = f"{sent.key[1]}-{number}"
        change = Change(chat_id=sent.chat_id, target_id=target_id, actor_id=actor_id, client_change_id=client_id)
        change.MergeFrom(body)
        for mention in change.edited.text.mentions:
            mention.user_id = sent.other_id
        yield Made(sent, change, wall_clock_ms())


class Expected:
    """The states of messages and chats that follow from the accepted changes."""

    def __init__(self, made: Iterable[Made], membership: Membership) -> None:
        self._membership = membership
        self._events: defaultdict[Place, list[Event]] = defaultdict(list)
        self._open: set[Place] = set()
        """Messages and chats with a change that has no answer: it may have been made or not."""
        self._first = MAX_ID
        """The id of the first accepted change: those before it are of earlier runs."""
        for each in made:
            if each.event is not None:
                self._first = min(self._first, each.event.event_id)
                self._events[place_of(each.change)].append(each.event)
            elif not each.refused:
                self._open.add(place_of(each.change))

    def state(self, place: Place, viewer: int) -> Sequence[Event]:
        """Return the current changes of a message or a chat that a user can see: those made while they were a member,
        and a deletion of a message that they can read."""
        state: State = {}
        for event in self._events.get(place, ()):
            change, membership = event.change, self._membership
            allows = membership.allows(change.chat_id, viewer, event.event_id)
            if is_visible(change, viewer) and (allows or membership.shows_deletion(change, viewer)):
                apply_change(state, event)
        return list(state.values())

    def agrees(self, place: Place, state: Iterable[Event], viewer: int) -> bool:
        """Return whether a state is right for a user, or may be. Marks do not count, and neither do the changes of a
        chat that an earlier run has made."""
        if isinstance(place, str):
            state = [event for event in state if event.event_id >= self._first]
        return place in self._open or _content(state) == _content(self.state(place, viewer))

    def is_deleted(self, message_id: int) -> bool:
        return any(event.change.HasField("deleted") for event in self._events.get(message_id, ()))


def is_visible(change: Change, viewer: int) -> bool:
    """Return whether a user receives the change of a chat of theirs."""
    kind = kind_of(change)
    return kind is None or not kind.is_private or change.actor_id == viewer


def describe(state: Iterable[Event]) -> str:
    """Describe a state in a violation."""
    return ", ".join(f"{event.change.WhichOneof('body')} by {event.event_id}" for event in state) or "unchanged"


def body_of(change: Change) -> bytes:
    name = change.WhichOneof("body")
    body: bytes = getattr(change, name).SerializeToString(deterministic=True) if name else b""
    return body


def _content(state: Iterable[Event]) -> dict[int, tuple[int, bytes]]:
    """Return the actor and the body of each change by its event id: stores keep these."""
    content = {}
    for event in state:
        if not event.change.HasField("marked"):
            content[event.event_id] = (event.change.actor_id, body_of(event.change))
    return content
