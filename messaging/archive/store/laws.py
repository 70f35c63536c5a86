"""Events as both twins of the chat store write them: changes by the law of their kind, mentions by the newest text."""

from collections.abc import Sequence

import msgspec

from rookery.v1.kinds_pb2 import LAW_MAX, LAW_WINS
from rookery.v1.session_pb2 import Change, Message, Text
from shared.contract.changes import KINDS, Kind
from shared.contract.chats import is_group
from shared.contract.ids import MAX_AGE_MS, first_id_at, time_of

(MARKS,) = (kind for kind in KINDS.values() if kind.law == LAW_MAX)
"""The kind with LAW_MAX. There is one: its changes are kept as `Chat.marks`, and in no log."""

(DELETION,) = (kind for kind in KINDS.values() if kind.law == LAW_WINS)
"""The kind with LAW_WINS. There is one: its changes make a stub of their message."""

EDIT = KINDS["edited"]
"""The kind whose newest change has the content of its message."""

EVERYONE = 0
"""In place of the id of a user: all members of a group."""

SHARED = tuple(kind.number for kind in KINDS.values() if not kind.is_private)
"""The numbers of the kinds that are not private."""

PRIVATE = tuple(kind.number for kind in KINDS.values() if kind.is_private)
"""The numbers of the private kinds."""

STAYING = tuple(sorted(kind.number for kind in KINDS.values() if kind is DELETION or kind.outlives))
"""The numbers of the kinds whose changes a deletion does not remove: its own too."""

MAX_NUMBER = 2**31 - 1
"""The highest version of a group or of an invite link, and the highest number of members: each engine can store it. The
engines refuse higher ones too late: SQLite with no ValueError, Cassandra after it has written other rows."""


def is_late(event_id: int, at_ms: int) -> bool:
    """Whether an event that the log stored at this time (milliseconds since 1970) is late."""
    return at_ms - time_of(event_id) > MAX_AGE_MS


def counted_as(event_id: int, at_ms: int) -> int:
    """The id as which an event counts that the log stored at this time (milliseconds since 1970): its own; of a late
    one the first id of the time less MAX_AGE_MS, which is higher."""
    return first_id_at(at_ms - MAX_AGE_MS) if is_late(event_id, at_ms) else event_id


def listed_key(kind: Kind, user_id: int) -> str:
    """The key, as `key_text` returns it, of the user's changes of a kind that `is_listed`."""
    return own_key(user_id) if kind.is_private else "[]"


def own_key(user_id: int) -> str:
    """The key, as `key_text` returns it, of the user's changes of a private kind: each has the key `actor_id`."""
    return f"[{user_id}]"


def is_listed(kind: Kind, change: Change) -> bool:
    """Whether messages of which this is a current change are listed by its kind."""
    return kind.is_listed and bool(getattr(change, kind.name).set)


def key_text(kind: Kind, change: Change) -> str:
    """The key of the change among the changes of its kind and target, as text."""
    return msgspec.json.encode(kind.key_of(change)[1:]).decode()


def raised(mark: tuple[int, int], change: Change) -> tuple[int, int]:
    """The delivered and the read mark of a member after a further change of the kind MARKS."""
    return max(mark[0], change.marked.delivered_up_to), max(mark[1], change.marked.read_up_to)


def mentioned_in(text: Text) -> Sequence[int]:
    """The users whom the text of a message or of an edit mentions; EVERYONE for all members."""
    users = [mention.user_id for mention in text.mentions]
    return [*users, EVERYONE] if text.mentions_everyone else users


def is_own(kind: Kind, change: Change) -> bool:
    """Whether a change of this kind changes the chat only in its actor's list: private ones, and marks in groups."""
    return kind.is_private or change.is_private or (kind is MARKS and is_group(change.chat_id))


def check_change(kind: Kind | None, change: Change) -> None:
    """Raise ValueError if the change can't be recorded. `kind` is None if only a newer release knows it."""
    lowest = 1 if kind is DELETION else 0
    if change.target_id < lowest:
        raise ValueError(f"target_id must be {lowest} or more, not {change.target_id}")


def check_control(message: Message) -> None:
    """Raise ValueError if the control change of a message can't be recorded."""
    control = message.control
    if not is_group(message.chat_id):
        raise ValueError("chat_id is not that of a group")
    if not 1 <= control.version <= MAX_NUMBER:
        raise ValueError(f"control.version must be 1 to {MAX_NUMBER}, not {control.version}")
    if control.member_count > MAX_NUMBER:
        raise ValueError(f"control.member_count must be {MAX_NUMBER} at most, not {control.member_count}")
    if any(invite.version > MAX_NUMBER for invite in control.invites):
        raise ValueError(f"the version of each invite must be {MAX_NUMBER} at most")
    if any(member.user_id < 1 for member in control.members):
        raise ValueError("the user_id of each member must be 1 or more")
    if not all(member.spans for member in control.members if member.role):
        raise ValueError("the spans of each present member must be 1 or more")
