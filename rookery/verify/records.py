"""The records of a verification: each sent message with its answer, each delivery, the histories, and the groups."""

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import trio

from rookery.client import Change, Control, Event, FileRef, HistoryMessage, Member, Message, State, Text
from shared.contract.changes import kind_of

Key = tuple[int, str]
"""The author and client id of a message or a change, equal for all copies of it."""

Place = int | str
"""The target of a change: the id of a message, or of a chat."""


EVERYONE = 0
"""In place of a mentioned user: all members of a group."""


def place_of(change: Change) -> Place:
    return change.target_id or change.chat_id


@dataclass(frozen=True, slots=True)
class Copy:
    """A message as it was delivered or read."""

    key: Key
    message_id: int
    chat_id: str
    text: str
    """Empty if the message is deleted. Of a control change, a text that differs if any of its fields does."""
    mentions: tuple[int, ...] = ()
    """With EVERYONE if it mentions all members."""
    forwarded: bool = False
    changes: Sequence[Event] = ()
    """Its state in history."""
    control: Control | None = None
    files: tuple[tuple[int, int], ...] = ()
    """The id and the size of each."""

    @classmethod
    def of(cls, message: Message) -> "Copy":
        key = (message.sender_id, message.client_message_id)
        mentions = mentions_of(message.text)
        control = message.control if message.HasField("control") else None
        text = message.text.body if control is None else text_of(control)
        files = tuple((file.file_id, file.size) for file in message.files)
        return cls(key, message.message_id, message.chat_id, text, mentions, message.forwarded, (), control, files)

    @classmethod
    def of_history(cls, item: HistoryMessage) -> "Copy":
        return replace(cls.of(item.message), changes=item.changes)

    def mentions_now(self, user_id: int) -> bool:
        """Whether its newest text in history mentions a member."""
        edits = (event.change.edited.text for event in self.changes if event.change.HasField("edited"))
        mentions = next(map(mentions_of, edits), self.mentions)
        return user_id in mentions or EVERYONE in mentions


def mentions_of(text: Text) -> tuple[int, ...]:
    """Return the users whom a text mentions, with EVERYONE if it mentions all members."""
    return tuple(mention.user_id for mention in text.mentions) + (EVERYONE,) * text.mentions_everyone


def text_of(control: Control) -> str:
    """Describe a control change, with a digest of all its fields."""
    digest = hashlib.sha256(control.SerializeToString(deterministic=True)).hexdigest()
    return f"control change {control.version} {digest[:16]}"


@dataclass(frozen=True, slots=True)
class SentFile:
    """A complete file of a message."""

    ref: FileRef
    """Where the sender of the message reads it."""
    owner_id: int
    """Who has uploaded it."""
    size: int
    digest: str
    """The SHA-256 of its bytes, in hexadecimal digits."""


@dataclass(slots=True)
class Sent:
    """A sent message, or a requested control change, and its answer. Times are in seconds on one clock."""

    key: Key
    """The key of the message; of an accepted control change, with the client id that the server made."""
    chat_id: str
    recipient_id: int
    """0 in a group."""
    text: str
    """The text of the message; of a control change, the text of `text_of`, empty until it is accepted."""
    number: int
    """Its number among the sender's messages, in the order of their first sending; -1 of a control change, which has no
    place in this order."""
    at: float
    """The moment when it was to be sent first."""
    at_ms: int = 0
    """The same by the wall clock, in milliseconds since 1970."""
    accepted_at: float = math.inf
    message_id: int = 0
    """The id of its acceptance; 0 without one."""
    retried: bool = False
    """Whether it, or one before it, was refused or unanswered, and it was sent again."""
    is_overdue: bool = False
    """Whether it was sent again after so long that the server may not have held later messages back any more."""
    mentions: tuple[int, ...] = ()
    """The users whom the text mentions, each as `@you`, or EVERYONE."""
    forwarded: bool = False
    files: Sequence[SentFile] = ()
    partner_id: int = 0
    """The member of a group who changes the message, beside its sender; 0 if nobody does."""
    late_id: int | None = None
    """The id of the answer to a late retry; 0 without an answer, None without a late retry."""
    may_be_deleted: bool = False
    """Whether its sender has tried to delete it."""
    control: Control | None = None
    """The content of an accepted control change; None for other messages."""
    refused: str = ""
    """The code of a refusal that no retry changes, of a control change or of a message to a group."""
    refused_at: float = math.inf

    @property
    def is_accepted(self) -> bool:
        return self.message_id != 0

    @property
    def other_id(self) -> int:
        """The user who changes the message, beside its sender; 0 if nobody does."""
        return self.recipient_id or self.partner_id

    @property
    def accepted_ms(self) -> float:
        """The moment of its acceptance, by the wall clock, in milliseconds since 1970."""
        return self.at_ms + 1000 * (self.accepted_at - self.at)

    def accept(self, message: Message) -> None:
        """Record that a control change was accepted now, as this message."""
        copy = Copy.of(message)
        self.key, self.chat_id, self.text, self.control = copy.key, copy.chat_id, copy.text, copy.control
        self.message_id, self.accepted_at = copy.message_id, trio.current_time()

    @property
    def is_control(self) -> bool:
        return self.number < 0


@dataclass(slots=True)
class Made:
    """A change that a client makes, and its answer."""

    target: Sent
    change: Change
    at_ms: int = 0
    """The moment when it was to be sent first, by the wall clock, in milliseconds since 1970."""
    event: Event | None = None
    """The event with which it was accepted."""
    accepted_ms: float = math.inf
    """The moment of its acceptance, by the wall clock, in milliseconds since 1970."""
    refused: str = ""
    """The code of a refusal that no retry changes."""
    retried: bool = False
    """As of Sent."""

    @property
    def key(self) -> Key:
        return self.change.actor_id, self.change.client_change_id

    @property
    def other_id(self) -> int:
        """The other member of a direct chat, or the one of a group who makes changes too."""
        sender_id, _ = self.target.key
        return self.target.other_id if self.change.actor_id == sender_id else sender_id

    @property
    def at(self) -> float:
        """The moment when it was to be sent first, in seconds on the clock of its target."""
        return self.target.at + (self.at_ms - self.target.at_ms) / 1000

    @property
    def is_private(self) -> bool:
        """Whether only its actor receives it."""
        kind = kind_of(self.change)
        return kind is not None and kind.is_private


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that reached a client, after the client has dropped repetitions."""

    copy: Copy
    at: float
    gaps: int = 0
    """The number of Gaps that the client received before."""
    is_live: bool = True
    """Whether it arrived in the session, rather than from history after a Gap."""
    has_order: bool = True
    """Whether it must come in the order of its sender's messages. Not if it was sent before the client opened the
    channel: it may be in history, and another copy of it may come in the session later."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A chat as a member's chat list shows it, after the member has marked it as read."""

    user_id: int
    chat_id: str
    marked: int
    """The id up to which the member has read."""
    read_up_to: int = 0
    unread: int = 0
    unread_mentions: int = 0
    changes: Sequence[Event] = ()
    """The state of the chat itself."""


@dataclass(frozen=True, slots=True)
class FeedRead:
    """A list of the changes of a chat after an id, or a list of chats, as a client received it after a Gap."""

    asked_at: float
    at: float
    """The moments of the request and of the answer, in seconds on one clock."""
    complete_up_to: int
    chat_id: str = ""
    """Empty for a list of chats."""
    after: int = 0
    events: Sequence[Event] = ()
    is_last: bool = False
    """Whether the client has read it at the end, when its session must have had everything."""


@dataclass(frozen=True, slots=True)
class Head:
    """A ChannelHead as it reached a client."""

    chat_id: str
    newest_id: int
    at: float
    follows: int = 0
    """The number of Follows of the client that were accepted before."""


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file of a message as a user reads it at the end."""

    user_id: int
    key: Key
    """The key of the message."""
    ref: FileRef
    expected: str
    """The digest of its bytes; empty if the user may not read it."""
    found: str | None = None
    """The digest of the bytes that the user has read; empty if the server refused that, None without an answer."""

    def answered(self, found: str) -> "FileRead":
        return replace(self, found=found)


@dataclass(frozen=True, slots=True)
class View:
    """The members of a group as the server shows them to one user at the end."""

    version: int
    own: Member
    roles: Mapping[int, int]
    """The roles of the present members, by user; none for a former member."""


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A group and its members."""

    chat_id: str
    owner_id: int
    """The owner throughout."""
    controls: Sequence[Sent]
    """The requested control changes."""
    views: Mapping[int, View]
    """The views by user; a user whose query had no answer is missing."""
    stay: Collection[int] = ()
    """The members throughout."""
    open_at: Collection[int] | None = None
    """The users whose clients have the channel open; None for another group."""


@dataclass(slots=True)
class Records:
    """All records of a finished run."""

    sent: Mapping[Key, Sent]
    deliveries: Mapping[int, Sequence[Delivery]] = field(default_factory=dict)
    """By user id, in the order of arrival at the user's client, which must receive all messages to the user."""
    histories: Mapping[tuple[int, str], Sequence[Copy]] = field(default_factory=dict)
    """By reader and chat, in the order of the pages, read once every message was due."""
    listed: Sequence[Listed] = ()
    made: Sequence[Made] = ()
    received_changes: Mapping[int, Sequence[tuple[Key, int]]] = field(default_factory=dict)
    """The key and the event id of each change that arrived in a session, by user id."""
    states: Mapping[int, Mapping[Place, State]] = field(default_factory=dict)
    """The states of messages and chats by user id, as the user's client has folded them at the end."""
    answers: Mapping[int, Sequence[FeedRead]] = field(default_factory=dict)
    """By user id, in the order of the requests of the user's client."""
    groups: Sequence[GroupRecord] = ()
    heads: Mapping[int, Sequence[Head]] = field(default_factory=dict)
    """By user id, in the order of arrival."""
    not_uploaded: Sequence[str] = ()
    """Describes each upload that was refused for good."""
    file_reads: Sequence[FileRead] = ()
    behind: Mapping[tuple[int, str], float] = field(default_factory=dict)
    """By user and channel, if the user's client has received a Gap: the moment up to which its session may lack events
    of the channel. Infinity while the client does not follow it."""
    missed: Mapping[int, Collection[Key]] = field(default_factory=dict)
    """By user id, the messages that were sent after the last Gap of the user's client, and did not arrive until the
    client read them from history at the end."""


def by_key(sent: Iterable[Sent]) -> dict[Key, Sent]:
    return {each.key: each for each in sent}
