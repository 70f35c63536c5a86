"""Changes as both twins of the chat store write them: by the law of their kind, never by its name."""

import msgspec

from rookery.v1.kinds_pb2 import LAW_MAX, LAW_WINS
from rookery.v1.session_pb2 import Change
from shared.contract.changes import KINDS, Kind

(MARKS,) = (kind for kind in KINDS.values() if kind.law == LAW_MAX)
"""The kind with LAW_MAX. There is one: its changes are kept as `Chat.marks`, and in no log."""

(DELETION,) = (kind for kind in KINDS.values() if kind.law == LAW_WINS)
"""The kind with LAW_WINS. There is one: its changes make a stub of their message."""


def key_text(kind: Kind, change: Change) -> str:
    """The key of the change among the changes of its kind and target, as text."""
    return msgspec.json.encode(kind.key_of(change)[1:]).decode()


def raised(mark: tuple[int, int], change: Change) -> tuple[int, int]:
    """The delivered and the read mark of a member after a further change of the kind MARKS."""
    return max(mark[0], change.marked.delivered_up_to), max(mark[1], change.marked.read_up_to)


def check_change(kind: Kind | None, change: Change) -> None:
    """Raise ValueError if the change can't be recorded. `kind` is None if only a newer release knows it."""
    lowest = 1 if kind is DELETION else 0
    if change.target_id < lowest:
        raise ValueError(f"target_id must be {lowest} or more, not {change.target_id}")
