"""Shared by the tests of chat stores: conversations with events, and reads of a store."""

import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from messaging.archive.store.protocol import ChatStore, Logged, Page
from rookery.v1.archive_pb2 import FILE_CLASS_LINKS, FILE_CLASS_MEDIA, FILE_CLASS_OTHER, Chat, Group, HistoryMessage
from rookery.v1.files_pb2 import FileInfo
from rookery.v1.groups_pb2 import ROLE_MEMBER, ROLE_OWNER, Control, GroupSettings, Invite, Member, Role
from rookery.v1.session_pb2 import Change, Deleted, Edited, Event, Marked, Mention, Message, Reacted, Text
from shared.contract.changes import State, apply
from shared.contract.chats import direct_chat_id
from shared.contract.groups import DEFAULT_PERMISSIONS
from shared.contract.ids import MAX_ID, first_id_at, time_of
from tests.fuzzing import examples

hypothetical = examples(5)
"""The examples share a database, in which each has its own chat. An example of Cassandra takes a second, so there are
few: 5, and 50 in `make test-all`."""

NOW_MS = 1_800_000_000_000

START = first_id_at(NOW_MS)
STEP = 1 << 22  # a millisecond between ids


ALL = -1
"""Among the indexes of mentioned users: everyone."""

MENTIONS = (), (0,), (1,), (0, ALL), (ALL,)
"""Of texts, by the choice of a step."""

users = itertools.count(1_000)
new_ids = itertools.count(START, STEP)


@dataclass
class Conversation:
    """A new direct chat, and the events of its members."""

    members: tuple[int, ...] = field(default_factory=lambda: (next(users), next(users)))

    @property
    def chat_id(self) -> str:
        one, other = self.members
        return direct_chat_id(one, other)

    @property
    def files(self) -> Sequence[FileInfo]:
        """A picture and another file, of this chat only."""
        ids = (self.members[0] * 2, self.members[0] * 2 + 1)
        return [FileInfo(file_id=ids[0], media_type="image/png", width=1), FileInfo(file_id=ids[1])]

    def text(self, body: str, mentions: Sequence[int]) -> Text:
        """A text that mentions users, by their index; ALL mentions everyone."""
        mentioned = [Mention(user_id=self.members[who]) for who in mentions if who != ALL]
        return Text(body=body, mentions=mentioned, mentions_everyone=ALL in mentions)

    def message(
        self,
        who: int = 0,
        client_message_id: str = "",
        body: str = "hello",
        message_id: int = 0,
        mentions: Sequence[int] = (),
        files: Sequence[int] = (),
    ) -> Event:
        """A message; `files` are indexes of `self.files`."""
        message_id = message_id or next(new_ids)
        message = Message(
            message_id=message_id,
            chat_id=self.chat_id,
            sender_id=self.members[who],
            client_message_id=client_message_id or f"c{message_id}",
            text=self.text(body, mentions),
            files=[self.files[index] for index in files],
        )
        return Event(event_id=message_id, message=message)

    def messages(self, count: int, who: int = 0) -> list[Event]:
        return [self.message(who) for _ in range(count)]

    def change(self, target_id: int = 0, who: int = 0, client_id: str | None = None, **body: Any) -> Event:
        """A change with the body of one kind; its client id is a new one, unless it is given."""
        event_id = next(new_ids)
        change = Change(
            chat_id=self.chat_id,
            target_id=target_id,
            actor_id=self.members[who],
            client_change_id=f"c{event_id}" if client_id is None else client_id,
            **body,
        )
        return Event(event_id=event_id, change=change)

    def reaction(self, target_id: int, emoji: str = "👍", who: int = 0, *, set: bool = True) -> Event:
        return self.change(target_id, who, reacted=Reacted(emoji=emoji, set=set))

    def edit(self, target_id: int, body: str = "edited", who: int = 0, mentions: Sequence[int] = ()) -> Event:
        return self.change(target_id, who, edited=Edited(text=self.text(body, mentions)))

    def deletion(self, target_id: int, who: int = 0) -> Event:
        return self.change(target_id, who, deleted=Deleted())

    def toggle(self, kind: str, target_id: int, who: int = 0, *, set: bool = True) -> Event:
        body: Any = {kind: {"set": set}}
        return self.change(target_id, who, **body)

    def mark(self, who: int = 0, *, delivered: int = 0, read: int = 0) -> Event:
        return self.change(who=who, client_id="", marked=Marked(delivered_up_to=delivered, read_up_to=read))


@dataclass
class Company(Conversation):
    """A new group, and the events of its users, who may be members or not."""

    members: tuple[int, ...] = field(default_factory=lambda: tuple(itertools.islice(users, 3)))
    number: int = field(default_factory=lambda: next(users))
    version: int = 0
    known: dict[int, Member] = field(default_factory=dict)
    """The present and the former members, and users who asked to join, by user."""
    invites: dict[int, Invite] = field(default_factory=dict)
    changed_id: int = 0
    counts: bool = True
    """Whether control changes have the number of members; those of former releases have none."""

    @property
    def chat_id(self) -> str:
        return f"g-{self.number}"

    def creation(self, count: int = 2, **settings: Any) -> Event:
        """The creation with the first users as members."""
        roles = {n: ROLE_MEMBER if n else ROLE_OWNER for n in range(count)}
        return self.control(roles, settings=GroupSettings(name="Crew", permissions=DEFAULT_PERMISSIONS, **settings))

    def control(
        self,
        roles: Mapping[int, Role] = MappingProxyType({}),
        who: int = 0,
        settings: GroupSettings | None = None,
        client_id: str = "",
        asking: Mapping[int, bool] = MappingProxyType({}),
        invites: Sequence[Invite] = (),
    ) -> Event:
        """The next control change: users get roles, by their index; ROLE_UNSPECIFIED ends their membership. Other users
        ask to join, or are declined."""
        event = self.message(who, client_id)
        self.version += 1
        for user_id, role in ((self.members[index], role) for index, role in roles.items()):
            member = Member(user_id=user_id, spans=self.known.get(user_id, Member()).spans)
            if role and not self.is_present(user_id):
                member.spans.add(first=event.event_id)
            elif not role:
                member.spans[-1].last = event.event_id
            member.role, member.version = role, self.version
            self.known[user_id] = member
        changed = [self.known[self.members[index]] for index in roles]
        for user_id, asks in ((self.members[index], asks) for index, asks in asking.items()):
            member = Member(user_id=user_id, spans=self.known.get(user_id, Member()).spans, version=self.version)
            member.asked_at_ms = time_of(event.event_id) if asks else 0
            self.known[user_id] = member
            changed.append(member)
        for invite in invites:
            invite.version = self.version
            self.invites[invite.invite_id] = invite
        count, self.changed_id = len(self.present) * self.counts, event.event_id
        control = Control(version=self.version, settings=settings, members=changed, invites=invites, member_count=count)
        event.message.control.CopyFrom(control)
        return event

    def group(self, settings: GroupSettings, only: Container[int] | None = None) -> Group:
        """The group with these settings, as the store has it now; with the members who are in `only`, or all."""
        known = [member for user_id, member in sorted(self.known.items()) if only is None or user_id in only]
        members = [member for member in known if member.spans or member.asked_at_ms]
        return Group(
            chat_id=self.chat_id,
            version=self.version,
            settings=settings,
            members=members,
            invites=[invite for _, invite in sorted(self.invites.items())],
            member_count=len(self.present),
            changed_id=self.changed_id,
        )

    @property
    def present(self) -> list[int]:
        return [user_id for user_id in self.known if self.is_present(user_id)]

    def is_present(self, user_id: int) -> bool:
        return user_id in self.known and bool(self.known[user_id].role)


def logged(*events: Event, age_ms: int = 0) -> list[Logged]:
    """The events, each stored by the log when its id had this age."""
    return [Logged(event, time_of(event.event_id) + age_ms) for event in events]


async def newest_page(chats: ChatStore, chat_id: str, limit: int = 100) -> Page:
    return await chats.messages_before(chat_id, MAX_ID, limit)


def ids(messages: Sequence[HistoryMessage]) -> list[int]:
    return [each.message.message_id for each in messages]


def firsts(events: Iterable[Event]) -> list[Event]:
    """The events without the later ones of each send."""
    first: dict[tuple[int, str], int] = {}
    kept: list[Event] = []
    for event in events:
        change, message = event.change, event.message
        send = message.sender_id or change.actor_id, message.client_message_id or change.client_change_id
        if not send[1] or first.setdefault(send, event.event_id) == event.event_id:
            kept.append(event)
    return kept


def folded(events: Iterable[Event], message_id: int) -> list[Event]:
    """The state of a message after these events, as history shows it."""
    state: State = {}
    for event in events:
        if event.HasField("change") and event.change.target_id == message_id:
            apply(state, event)
    return sorted(state.values(), key=lambda event: event.event_id)


def stub_of(event: Event) -> Message:
    """The message of the event after its deletion."""
    message = event.message
    return Message(
        message_id=message.message_id,
        chat_id=message.chat_id,
        sender_id=message.sender_id,
        client_message_id=message.client_message_id,
    )


def unread_mentions(messages: Iterable[HistoryMessage], user_id: int, above_id: int) -> int:
    """How many of the messages are of others, above the id, and mention the user in their newest text."""
    count = 0
    for each in messages:
        edits = (event.change.edited.text for event in each.changes if event.change.HasField("edited"))
        text = next(edits, each.message.text)
        mentioned = text.mentions_everyone or any(mention.user_id == user_id for mention in text.mentions)
        count += mentioned and each.message.sender_id != user_id and each.message.message_id > above_id
    return count


async def check_mentions(chats: ChatStore, talk: Conversation) -> None:
    """Compare the unread mentions in a chat of each member, who is in their last span, to those in history."""
    page = await newest_page(chats, talk.chat_id)
    for user_id in talk.members:
        if (chat := await chats.get_chat(user_id, talk.chat_id)) is None:
            continue
        read = max((mark.read_up_to for mark in chat.marks if mark.user_id == user_id), default=0)
        begin, end = (chat.own.spans[-1].first, chat.own.spans[-1].last) if chat.own.spans else (0, 0)
        right = 0 if end else unread_mentions(page.messages, user_id, max(read, begin - 1))
        assert chat.unread_mentions == right


async def check_files(chats: ChatStore, talk: Conversation) -> None:
    """Compare the messages with files, and the files that are used, to history."""
    found = [each.message for each in (await newest_page(chats, talk.chat_id)).messages]
    for index, file in enumerate(talk.files):
        having = [message for message in found if file in message.files]
        listed = await chats.messages_with_files(talk.chat_id, (FILE_CLASS_MEDIA, FILE_CLASS_OTHER)[index], MAX_ID, 100)
        assert [each.message for each in listed.messages] == having
        assert await chats.files.used([file.file_id]) == ({file.file_id} if having else set())
    links = await chats.messages_with_files(talk.chat_id, FILE_CLASS_LINKS, MAX_ID, 100)
    assert [each.message for each in links.messages] == [message for message in found if "://" in message.text.body]


async def state(chats: ChatStore, talk: Conversation) -> Any:
    """All data of a chat that can be read."""
    page = await newest_page(chats, talk.chat_id)
    seen = [await chats.get_chat(member, talk.chat_id) for member in talk.members]
    listed = [await all_chats(chats, member) for member in talk.members]
    classes = FILE_CLASS_MEDIA, FILE_CLASS_OTHER, FILE_CLASS_LINKS
    files = [await chats.messages_with_files(talk.chat_id, each, MAX_ID, 100) for each in classes]
    return page, seen, listed, files, await chats.events_after(talk.chat_id, 0)


async def chat_of(chats: ChatStore, talk: Conversation, user_id: int) -> Chat:
    chat = await chats.get_chat(user_id, talk.chat_id)
    assert chat is not None
    return chat


async def all_chats(chats: ChatStore, user_id: int) -> Sequence[Chat]:
    return await chats.list_chats(user_id, changed_since_ms=0, limit=100, after=None)


steps = st.lists(
    st.tuples(
        st.sampled_from(["message", "reaction", "edit", "deletion", "mark", "retry"]),
        st.integers(0, 1),
        st.integers(0, 7),
        st.booleans(),
    ),
    max_size=25,
)


def history(talk: Conversation, steps: Sequence[tuple[str, int, int, bool]]) -> list[Event]:
    """Events of a chat: messages, some of them retried, and changes of all kinds, some of them before their message."""
    events: list[Event] = []
    sent: list[int] = []
    for kind, who, choice, flag in steps:
        target = sent[choice % len(sent)] if sent else 0
        if kind == "message" or not sent:
            body = "see https://example.com" if choice % 2 else "hello"
            events.append(talk.message(who, f"c{choice}", body, 0, MENTIONS[choice % 5], range(choice % 3)))
            sent.append(events[-1].event_id)
        elif kind == "reaction":
            events.append(talk.reaction(target, "👍🎉"[choice % 2], who, set=flag))
        elif kind == "edit":
            events.append(talk.edit(target, f"edit {choice}", who, MENTIONS[choice % 5]))
        elif kind == "deletion":
            events.append(talk.deletion(target, who))
        elif kind == "mark":
            events.append(talk.mark(who, delivered=target, read=target * flag))
        else:
            events.append(Event.FromString(events[choice % len(events)].SerializeToString()))
            events[-1].event_id = next(new_ids)
            if events[-1].HasField("message"):
                events[-1].message.message_id = events[-1].event_id
        if flag and len(events) > 1:
            events[-2:] = events[:-3:-1]
    return events
