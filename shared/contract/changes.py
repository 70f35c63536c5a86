"""The kinds of changes, as `kinds.proto` describes them, and the state of a target that changes fold into.

A target is a message or a chat. Its state does not depend on the order in which changes are applied, nor on
repetitions.
"""

from collections.abc import Iterable, MutableMapping
from operator import attrgetter
from typing import Any

import msgspec

from rookery.v1 import kinds_pb2
from rookery.v1.kinds_pb2 import LAW_LAST, LAW_MAX, LAW_WINS
from rookery.v1.session_pb2 import Change, Event, Message

StateKey = tuple[int, ...] | tuple[int | str, ...]
"""The number of the kind, and the values of its key's fields: identifies one change in the state of a target."""

State = MutableMapping[StateKey, Event]
"""The state of one target: its current changes, each as the event that made it."""


class Kind(msgspec.Struct, frozen=True):
    """A kind of change."""

    name: str
    """The field of `Change.body`."""
    number: int
    """The number of that field."""
    law: int
    """A Law of kinds.proto."""
    key: tuple[str, ...]
    """Fields of the change, or of its body, that are part of the state's key."""
    is_private: bool
    """Whether only the devices of the actor receive it."""
    is_listed: bool
    """Whether the messages with a current change of this kind can be listed."""
    is_of_chat: bool
    """Whether its changes are of the chat itself, without target; else they are of a message."""
    outlives: bool
    """Whether its changes stay beside one with LAW_WINS of the same target."""
    is_toggled: bool
    """Whether its body has no field but `set`."""

    def key_of(self, change: Change) -> StateKey:
        """The key of a change of this kind in the state of its target."""
        return (self.number, *(attrgetter(path)(change) for path in self.key))


def _kinds() -> Iterable[Kind]:
    extension: Any = kinds_pb2.kind  # its generated type is that of no extension
    for field in Change.DESCRIPTOR.oneofs_by_name["body"].fields:
        kind: kinds_pb2.Kind = field.GetOptions().Extensions[extension]
        body: Any = field.message_type  # each is a message
        is_toggled = [each.name for each in body.fields] == ["set"]
        options = tuple(kind.key), kind.is_private, kind.is_listed, kind.is_of_chat, kind.outlives
        yield Kind(field.name, field.number, kind.law, *options, is_toggled)


KINDS = {kind.name: kind for kind in _kinds()}
"""All kinds of this version, by name."""

_WINNERS = [(kind.number,) for kind in KINDS.values() if kind.law == LAW_WINS]
"""The keys of the kinds with LAW_WINS in a state."""

LISTED = sorted(kind.name for kind in KINDS.values() if kind.is_listed)
"""The kinds by which messages are listed."""

VERSIONED = sorted(kind.name for kind in KINDS.values() if kind.law == LAW_LAST and not kind.is_private)
"""The kinds with a history of their changes of a message."""


TOGGLED = sorted(kind.name for kind in KINDS.values() if kind.is_toggled)
"""The kinds whose changes only set or remove something."""


def toggle(kind: str, is_set: bool, *, chat_id: str = "", target_id: int = 0) -> Change:
    """A change of a kind that is TOGGLED. Raises ValueError for another kind."""
    if kind not in TOGGLED:
        raise ValueError(f"the kind must be one of {', '.join(TOGGLED)}, not {kind!r}")
    change = Change(chat_id=chat_id, target_id=target_id)
    body = getattr(change, kind)
    body.set = is_set
    body.SetInParent()  # a body with the default value, too
    return change


def kind_of(change: Change) -> Kind | None:
    """The change's kind; None if only a newer version knows it."""
    name = change.WhichOneof("body")
    return None if name is None else KINDS[name]


def wins(change: Change) -> bool:
    """Whether the change removes its target's content, and all changes of other kinds that do not outlive it."""
    kind = kind_of(change)
    return kind is not None and kind.law == LAW_WINS


def outlives(change: Change) -> bool:
    """Whether the change stays beside one that wins."""
    kind = kind_of(change)
    return kind is not None and kind.outlives


def make_stub(message: Message) -> None:
    """Remove everything from a message that its deletion removes."""
    message.ClearField("content")
    message.ClearField("reply_to")
    message.ClearField("forwarded")
    message.ClearField("files")


def apply(state: State, event: Event) -> bool:
    """Apply the change of an event to the state of its target. Return whether the state has changed."""
    change = event.change
    kind = kind_of(change)
    if kind is None:
        return False
    key = kind.key_of(change)
    known = state.get(key)
    if kind.law == LAW_WINS:
        return _win(state, key, event)
    if not kind.outlives and _winner(state):
        return False
    if known is None or (kind.law == LAW_LAST and event.event_id > known.event_id):
        state[key] = event
        return True
    if kind.law == LAW_MAX and (merged := _highest(kind.name, known, event)) != known:
        state[key] = merged
        return True
    return False


def _win(state: State, key: StateKey, event: Event) -> bool:
    """Keep the first of the changes that win, and others only of kinds that outlive it."""
    winner = _winner(state)
    if winner is not None and winner.event_id <= event.event_id:
        return False
    for other in [each for each, known in state.items() if not outlives(known.change)]:
        del state[other]
    state[key] = event
    return True


def _winner(state: State) -> Event | None:
    """The change that has won."""
    return next((state[key] for key in _WINNERS if key in state), None)


def _highest(name: str, known: Event, event: Event) -> Event:
    """The newer of two events, with the highest values of both."""
    merged = Event()
    merged.CopyFrom(known if known.event_id > event.event_id else event)
    body, bodies = getattr(merged.change, name), [getattr(each.change, name) for each in (known, event)]
    for field in body.DESCRIPTOR.fields:
        setattr(body, field.name, max(getattr(each, field.name) for each in bodies))
    return merged
