"""The changes of a verification: which messages are changed and how, and the states that they must have at the end."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from rookery.client import Change, Event, State, apply_change
from rookery.v1.session_pb2 import Deleted, Edited, Reacted, Text
from rookery.verify.records import Made, Sent
from shared.contract.ids import wall_clock_ms


class Script(msgspec.Struct, frozen=True):
    """The changes of one message, in the order in which each member makes theirs."""

    by_sender: Sequence[Change] = ()
    """From the acceptance of the message on."""
    by_recipient: Sequence[Change] = ()
    """From the acceptance and the delivery of the message on."""


def _edited(text: str) -> Change:
    return Change(edited=Edited(text=Text(body=text)))


def _reacted(is_set: bool) -> Change:
    return Change(reacted=Reacted(emoji="👍", set=is_set))


DELETED = Change(deleted=Deleted())

SCRIPTS = (
    Script(by_sender=[_edited("once"), _edited("twice")]),
    Script(by_recipient=[_reacted(True)]),
    Script(by_sender=[_edited("before the deletion"), DELETED], by_recipient=[_reacted(True)]),
    Script(by_recipient=[_reacted(True), _reacted(False)]),
    Script(by_sender=[DELETED]),
)
"""Each is used for the same share of the changed messages."""


def script_of(sent: Sent, percent: float) -> Script | None:
    """Return the script of a message, if so many percent of each sender's messages are changed."""
    before, after = (int(number * percent / 100) for number in (sent.number, sent.number + 1))
    return SCRIPTS[(sent.key[0] + before) % len(SCRIPTS)] if after > before else None


def changes_of(sent: Sent, actor_id: int, script: Script) -> Iterator[Made]:
    """Yield the changes that a member makes to an accepted message."""
    for number, body in enumerate(script.by_sender if actor_id == sent.key[0] else script.by_recipient):
        change = Change(
            chat_id=sent.chat_id,
            target_id=sent.message_id,
            actor_id=actor_id,
            client_change_id=f"{sent.key[1]}-{number}",
        )
        change.MergeFrom(body)
        yield Made(sent, change, wall_clock_ms())


class Expected:
    """The states of messages that follow from the accepted changes."""

    def __init__(self, made: Iterable[Made]) -> None:
        self._states: defaultdict[int, State] = defaultdict(dict)
        self._open: set[int] = set()
        """Messages with a change that has no answer: it may have been made or not."""
        for each in made:
            if each.event is not None:
                apply_change(self._states[each.change.target_id], each.event)
            elif not each.refused:
                self._open.add(each.change.target_id)

    def state(self, message_id: int) -> Sequence[Event]:
        """Return the current changes of a message."""
        return list(self._states.get(message_id, {}).values())

    def agrees(self, message_id: int, state: Iterable[Event]) -> bool:
        """Return whether a state is right, or may be."""
        return message_id in self._open or _content(state) == _content(self.state(message_id))

    def is_deleted(self, message_id: int) -> bool:
        return any(event.change.HasField("deleted") for event in self.state(message_id))


def describe(state: Iterable[Event]) -> str:
    """Describe a state in a violation."""
    return ", ".join(f"{event.change.WhichOneof('body')} by {event.event_id}" for event in state) or "unchanged"


def _content(state: Iterable[Event]) -> dict[int, tuple[int, bytes]]:
    """Return the actor and the body of each change by its event id: stores keep these."""
    content = {}
    for event in state:
        name = event.change.WhichOneof("body")
        body = getattr(event.change, name).SerializeToString() if name else b""
        content[event.event_id] = (event.change.actor_id, body)
    return content
