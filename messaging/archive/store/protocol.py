"""The protocol of the chat store: history, the state of each message, marks and each user's chats."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from messaging.archive.store.files import FileTable
from rookery.v1.archive_pb2 import Chat, FileClass, Group, HistoryMessage, ListMembersResponse, Mark, PublicChat
from rookery.v1.groups_pb2 import GroupSettings, Member
from rookery.v1.session_pb2 import Event, Message

UNREAD_LIMIT = 100
"""Unread messages are counted up to this number: see archive.proto. Deleted messages do not count, nor do control
changes, except the one by which another user has added the user."""

UNREAD_SCAN = 2_000
"""Most messages above the read mark that are read, newest first, to count the messages of others: see archive.proto.
Only where so many own or deleted messages, or control changes, follow are unread messages not counted."""

MENTIONS_LIMIT = 100
"""Messages that mention the user are counted up to this number: see archive.proto."""

MENTIONS_SCAN = 200
"""Most messages above the read mark that are read to count mentions of the user, and as many to count mentions of
everyone: the newest with such a mention in any version, deleted ones included."""

MAX_PAGE_CHANGES = 10_000
"""Changes in the state of a page of messages, about 1 MB. Further ones are left out: a page with so many is read again
with fewer messages. One message has fewer: gateways refuse more."""

MAX_CHANGES = 1_000
"""Events that `ChatStore.events_after` returns at most: see archive.proto."""

MAX_VERSIONS = 100
"""Changes that `ChatStore.versions` returns at most: see archive.proto."""


class Logged(NamedTuple):
    """An event to record, and the time at which the log stored it, in milliseconds since 1970."""

    event: Event
    at_ms: int


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive messages of one chat, oldest first."""

    messages: Sequence[HistoryMessage]
    has_older: bool
    has_newer: bool


@dataclass(frozen=True, slots=True)
class ChatCursor:
    """The last chat of a page. In a list, the chats that the user has pinned come first; both parts are sorted by
    changed_at_ms, then chat_id, descending."""

    changed_at_ms: int
    chat_id: str
    is_pinned: bool = False

    @classmethod
    def of(cls, chat: Chat) -> "ChatCursor":
        """The cursor behind a chat as its user sees it."""
        return cls(chat.changed_at_ms, chat.chat_id, any(event.change.chat_pinned.set for event in chat.changes))

    @property
    def sort_key(self) -> tuple[bool, int, str]:
        """Compares as lists are sorted: of two chats, that with the higher key comes first."""
        return self.is_pinned, self.changed_at_ms, self.chat_id


class PublicCursor(NamedTuple):
    """The last public group of a page. Lists are sorted by the case-folded name, then chat_id, both ascending."""

    name: str
    chat_id: str


FIRST_PUBLIC = PublicCursor("", "")
"""Before all public groups."""


class Membership(NamedTuple):
    """A present or former member of a group."""

    member: Member
    settings: GroupSettings
    """The present ones of the group."""


class ChatStore(Protocol):
    """Every method raises Unavailable if the engine does not answer.

    A message has all changes that are its state, or with a `viewer_id` those that this user may get, without the
    private changes of others. Of messages of channels, read only these: one may have 100,000 of others.

    Recording is idempotent: recording events again, from any earlier one on, leaves the same state. Of two events with
    the same chat, author and client id, messages or changes, the first recorded one stays and the other is ignored,
    within a distance that each engine documents.
    """

    @property
    def files(self) -> FileTable:
        """The files of users. `record` writes the uses of the messages, and revives the files that they use."""
        ...

    async def record(self, events: Sequence[Logged], offsets: Mapping[int, int]) -> None:
        """Write the events, in order, and the offsets up to which the log is recorded (by partition, the next to read).

        Messages and changes; other events are ignored. Changes are folded by the laws of their kinds; one whose kind
        only a newer release knows is stored, and not folded. A change may precede its message, which may be in another
        partition: it is shown once the message is recorded. A deletion removes the contents of its message and of the
        other changes of that message, those that are recorded later included. `Chat.changed_at_ms` is the highest of
        the events' times, and for a late event (see `laws`) that of the log less MAX_AGE_MS, if that is higher. In
        groups, marks change it only for their actor, as private changes do.

        A control change is folded into its group: of each member, the value of the highest version stays. Of two with
        the same version, the first recorded one stays, and the other is ignored. Messages of a group may precede its
        creation. The number of members is that of the newest control change; if it has none, they are counted.

        Atomic where the engine has transactions. Raises ValueError, and writes nothing, if one of the events is
        invalid.
        """
        ...

    async def recorded_offsets(self) -> Mapping[int, int] | None:
        """By partition, the next offset to record, if the engine stores it with the events; else None. Nothing of a
        partition without one is recorded."""
        ...

    async def raise_watermarks(self, watermarks: Mapping[int, int]) -> None:
        """Store, by partition, a time of the log (milliseconds since 1970) up to which its events are recorded. A lower
        one than the stored changes nothing."""
        ...

    async def watermarks(self) -> Mapping[int, int]:
        """The highest watermark of each partition that has one."""
        ...

    async def list_chats(
        self, user_id: int, *, changed_since_ms: int, limit: int, after: ChatCursor | None
    ) -> Sequence[Chat]:
        """The user's chats changed at or after the moment, pinned ones first, then most recently changed first, at most
        `limit`: see ChatCursor.

        A chat appears in its members' lists with its first message, a group with its creation or when they join. In
        the list of a former member, a group is as it was when their last span ended: `version`, `settings` and `newest`
        are of that moment, `changed_at_ms` is that of the control change that ended it, or of a newer mark or private
        change of the user, and `unread` and `member_count` are 0. For a member, `unread` counts from their newest span
        on.

        A message costs a constant number of writes, whatever the number of members: the order of a user's groups comes
        from the groups, not from rows of the user.
        """
        ...

    async def get_chat(self, user_id: int, chat_id: str) -> Chat | None:
        """The chat as the user sees it; None if nothing is recorded in it, or if the user was never a member of it."""
        ...

    async def get_group(self, chat_id: str, user_ids: Collection[int] = ()) -> Group | None:
        """The group, with its present and former members, those who have asked to join, and its invite links; None if
        its creation is not recorded. Of a channel, only the members with these ids, all who have asked to join, and the
        creators of the invite links; the reads do not grow with the number of its members.

        `version` is that up to which every control change is recorded: the settings and the members are of it, or of a
        later one. `changed_id` is as high as every id by which one of the members joined or left, or higher.
        """
        ...

    async def list_public_chats(
        self, user_id: int, query: str, *, after: PublicCursor, limit: int
    ) -> Sequence[PublicChat]:
        """The public groups with members that the query finds by the rule of `shared.accounts.names`, or all if it has
        no word, after the cursor, at most `limit`."""
        ...

    async def get_member(self, chat_id: str, user_id: int) -> Membership | None:
        """The user as a present member of a group, or a former one as they left; None if they never were one."""
        ...

    async def list_members(self, chat_id: str, *, after: int, limit: int) -> ListMembersResponse:
        """The present members with a higher user_id, ascending, at most `limit`, and the version of the group. The
        members are of this version or of a later one."""
        ...

    async def list_marks(self, chat_id: str, *, from_id: int, limit: int) -> Sequence[Mark]:
        """The marks of the present members who have read or received this message or a later one, highest read marks
        first, then highest delivered marks, at most `limit`. Of a direct chat, those of both users."""
        ...

    async def messages_before(self, chat_id: str, before_id: int, limit: int, viewer_id: int | None = None) -> Page:
        """The newest messages below the id, at most `limit` of them."""
        ...

    async def messages_after(self, chat_id: str, after_id: int, limit: int, viewer_id: int | None = None) -> Page:
        """The oldest messages above the id, at most `limit` of them."""
        ...

    async def messages_having(
        self, chat_id: str, kind: int, key: str, before_id: int, limit: int, viewer_id: int | None = None
    ) -> Page:
        """The newest messages below the id, at most `limit` of them, with a current change of this kind (its number)
        and key (see `laws.listed_key`) that is set. `has_newer` is false. The kind is one that `is_listed`."""
        ...

    async def messages_with_files(
        self, chat_id: str, file_class: FileClass, before_id: int, limit: int, viewer_id: int | None = None
    ) -> Page:
        """The newest messages below the id, at most `limit` of them, with a file of this class, or a link in the text
        as it was sent. `has_newer` is false."""
        ...

    async def events_after(self, chat_id: str, after_id: int) -> Sequence[Event]:
        """Messages as they were sent and changes, in order of event ids: all with a higher id, and late ones that the
        log stored after the id's time plus MAX_AGE_MS. Without marks, and without the changes that a deletion has
        removed; a deleted message is a stub. If there are more than MAX_CHANGES, removed changes perhaps included, more
        than MAX_CHANGES events, which may be empty."""
        ...

    async def versions(self, chat_id: str, target_id: int, kind: int) -> Sequence[Event]:
        """The newest MAX_VERSIONS changes of this kind (its number) and target, oldest first; none if the target was
        deleted."""
        ...

    async def get_message(self, chat_id: str, message_id: int, viewer_id: int | None = None) -> HistoryMessage | None:
        """One message; None if it does not exist."""
        ...

    async def find_sent(self, chat_id: str, author_id: int, client_id: str) -> Event | None:
        """The recorded event of a message or a change that the author sent with this id, or None. Certain to be found
        if it was accepted in the last 3 days. A deleted message has no content, and a change of a deleted message has
        no body. Changes of kinds with LAW_MAX are not found."""
        ...


def with_changes(messages: Iterable[Message], changes: Iterable[tuple[int, int, bytes]]) -> list[HistoryMessage]:
    """The messages, each with its changes (target, event id, encoded event), in the order of event ids."""
    history = {message.message_id: HistoryMessage(message=message) for message in messages}
    for target_id, _, event in sorted(changes):
        if target := history.get(target_id):
            target.changes.add().MergeFromString(event)
    return [*history.values()]
