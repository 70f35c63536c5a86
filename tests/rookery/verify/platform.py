"""A platform in memory for runs, and its clients: it keeps every promise."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import trio

from rookery.client import (
    Accepted,
    Change,
    Connected,
    Event,
    HistoryMessage,
    ListChangesResponse,
    ListChatsResponse,
    ListMessagesResponse,
    Message,
    Refused,
    State,
    Unreachable,
    apply_change,
)  # fmt: skip
from rookery.client.events import EventQueue
from rookery.v1.archive_pb2 import Chat, Mark
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.session_pb2 import Send, Text
from rookery.verify import Plan, Result, Run
from rookery.verify.changes import is_visible
from rookery.verify.records import Place, place_of
from shared.background import open_background
from shared.contract.changes import make_stub
from shared.contract.chats import direct_chat_id, direct_members
from shared.contract.ids import SnowflakeGenerator, first_id_at, time_of, wall_clock_ms

PLAN = Plan(clients=4, messages=80, settle_seconds=5, in_flight=4, changes=50, files=30, groups=(), channel=0)

TakeUnlucky = Callable[["Platform", int, Message], Accepted]


MAX_AGE_MS = 10_000
"""An event is late if its id is older when it is stored."""

UNLUCKY = 37
"""Number of the message for which a platform breaks its promise."""


class Platform:
    """Keeps every promise, except one if `take_unlucky` is given: for the message number `UNLUCKY`."""

    def __init__(self, take_unlucky: TakeUnlucky | None = None) -> None:
        self.clients: list[FakeClient] = []
        self.history: list[Message] = []
        self.states: defaultdict[Place, State] = defaultdict(dict)
        self.events: dict[tuple[int, str], Event] = {}
        """The accepted changes by actor and client id, for retries."""
        self.ids = SnowflakeGenerator(1)
        self.taken = 0
        self.late: Message | None = None
        self.answers: dict[tuple[int, str], Accepted] = {}
        """By sender and client_message_id, for retries."""
        self.marks: dict[tuple[int, str], int] = {}
        self.logged_ms: dict[int, int] = {}
        """When each message was stored."""
        self.files: dict[str, tuple[FileInfo, bytes]] = {}
        """By client id."""
        self.unread_among = 2_000
        self._take_unlucky = take_unlucky

    def take(self, sender: "FakeClient", recipient_id: int, send: Send, key: str) -> Accepted | Refused | None:
        """Take a sent message; return its answer, or None for no answer."""
        self.taken += 1
        if (sender.me.user_id, key) in self.answers:
            return self.answers[sender.me.user_id, key]
        message = Message(
            message_id=self.ids.next_nowait() or 0,
            chat_id=direct_chat_id(sender.me.user_id, recipient_id),
            sender_id=sender.me.user_id,
            client_message_id=key,
            text=send.text,
            forwarded=send.forwarded,
            files=self.files_of(send),
        )
        if self.taken == UNLUCKY and self._take_unlucky is not None:
            return self._take_unlucky(self, recipient_id, message)
        return self.keep(recipient_id, message)

    def files_of(self, send: Send) -> list[FileInfo]:
        return [info for ref in send.files for info, _ in self.files.values() if info.file_id == ref.file_id]

    def read(self, ref: FileRef, content: bytes, *, may_read: bool) -> bytes:
        """The bytes of a file as a user gets them."""
        if not may_read:
            raise Refused("not_found", "There is no such file.")
        return content

    def keep(self, recipient_id: int, message: Message) -> Accepted:
        self.store(message)
        self.deliver(recipient_id, message)
        return self.accept(message)

    def store(self, message: Message) -> None:
        self.history.append(message)
        self.logged_ms[message.message_id] = wall_clock_ms()

    def deliver(self, recipient_id: int, message: Message) -> None:
        """Deliver a message, and then the late one if it is of the same sender and chat."""
        late = self.late
        for client in self.clients:
            if client.me.user_id == recipient_id:
                client.queue.put(message, 0)
        if late is not None and (late.chat_id, late.sender_id) == (message.chat_id, message.sender_id):
            self.late = None
            self.deliver(recipient_id, late)

    def accept(self, message: Message) -> Accepted:
        key, chat_id = message.client_message_id, message.chat_id
        answer = Accepted(client_id=key, event_id=message.message_id, chat_id=chat_id)
        return self.answers.setdefault((message.sender_id, key), answer)

    def change(self, actor: "FakeClient", change: Change) -> Event:
        key = actor.me.user_id, change.client_change_id
        if key not in self.events:
            self.events[key] = event = Event(event_id=self.ids.next_nowait() or 0, change=change)
            self.store_change(event)
            self.deliver_change(actor, event)
        return self.events[key]

    def store_change(self, event: Event) -> None:
        apply_change(self.states[place_of(event.change)], event)
        if event.change.HasField("deleted"):
            self.remove(event.change.target_id)

    def remove(self, message_id: int) -> None:
        for place, message in enumerate(self.history):
            if message.message_id == message_id:  # in place of the message, which was delivered
                self.history[place] = Message.FromString(message.SerializeToString())
                make_stub(self.history[place])

    def deliver_change(self, actor: "FakeClient", event: Event) -> None:
        for client in self.clients:
            is_member = client.reads(event.change.chat_id, event.event_id)
            if client is not actor and is_member and is_visible(event.change, client.me.user_id):
                client.queue.put(event, 0)

    def feed(self, chat_id: str, after: int) -> list[Event]:
        """The events after an id, and the late ones."""
        late_ms = time_of(after) + MAX_AGE_MS

        def is_new(event_id: int) -> bool:
            return event_id > after or self.logged_ms.get(event_id, 0) > late_ms

        here = [message for message in self.history if message.chat_id == chat_id and is_new(message.message_id)]
        changes = [each for each in self.events.values() if each.change.chat_id == chat_id and is_new(each.event_id)]
        kept = [event for event in changes if not self.is_removed(event)]
        return [*(Event(event_id=message.message_id, message=message) for message in here), *kept]

    def is_removed(self, event: Event) -> bool:
        """Whether the change has been removed by a deletion."""
        state = self.states[place_of(event.change)].values()
        return event not in state and any(each.change.HasField("deleted") for each in state)

    def complete_up_to(self) -> int:
        return first_id_at(wall_clock_ms() - MAX_AGE_MS - 5_000)

    def make_client(self, user_id: int) -> "FakeClient":
        return FakeClient(self, user_id)

    # ---- Accounts

    async def register(self, names: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def open_client(
        self, name: str, number: int, transport: str, presence: object
    ) -> AsyncIterator["FakeClient"]:
        client = self.make_client(1_000 + len(self.clients))
        self.clients.append(client)
        client.queue.put(Connected("s", 0), 0)
        await trio.lowlevel.checkpoint()
        yield client


class FakeClient:
    """The part of Client and Api that a verification uses."""

    def __init__(self, platform: Platform, user_id: int) -> None:
        self.me = SimpleNamespace(user_id=user_id)
        self.queue = EventQueue(wall_clock_ms)
        self.is_connected = True
        self.newest = 0
        """The newest own accepted message."""
        self._platform = platform

    def reads(self, chat_id: str, event_id: int = 0) -> bool:
        """Whether the user is in a chat, and reads the event, if there is one."""
        return self.me.user_id in (direct_members(chat_id) or ())

    @property
    def api(self) -> "FakeClient":
        return self

    @property
    def files(self) -> "FakeClient":
        return self

    async def upload(self, content: bytes, *, name: str, client_file_id: str) -> FileInfo:
        await trio.lowlevel.checkpoint()
        files = self._platform.files
        if client_file_id not in files:
            info = FileInfo(file_id=1 + len(files), name=name, size=len(content))
            files[client_file_id] = info, content
            if len(files) % 5 == 0:
                raise Unreachable("no answer")
        return files[client_file_id][0]

    @asynccontextmanager
    async def download(self, ref: FileRef) -> AsyncIterator[AsyncIterator[bytes]]:
        async def chunks() -> AsyncIterator[bytes]:
            await trio.lowlevel.checkpoint()
            (content,) = (each for info, each in self._platform.files.values() if info.file_id == ref.file_id)
            here = [each for each in self._platform.history if each.message_id == ref.message_id and each.files]
            may_read = bool(here) and self.reads(ref.chat_id, ref.message_id)
            yield self._platform.read(ref, content, may_read=may_read)

        yield chunks()

    def events(self) -> EventQueue:
        return self.queue

    def submit(self, to: int, text: str, *, client_message_id: str, first_sent_ms: int, **send: Any) -> Any:
        content = Send(text=Text(body=text), forwarded=send["forwarded"], files=send["files"])
        content.text.mentions.extend(send["mentions"])
        content.text.mentions_everyone = send["mentions_everyone"]
        outcome = self._platform.take(self, to, content, client_message_id)

        async def answer(deadline: float) -> Accepted:
            await trio.sleep(0.001)  # meanwhile the client sends on
            if isinstance(outcome, Refused):
                raise outcome
            if outcome is None:
                await trio.sleep(deadline)
                raise Unreachable("no answer")
            return outcome

        return SimpleNamespace(answer=answer, withdraw=lambda: None)

    def submit_change(self, change: Change, *, first_sent_ms: int) -> Any:
        try:
            outcome: Accepted | Refused | Unreachable = Accepted(event_id=self._platform.change(self, change).event_id)
        except (Refused, Unreachable) as error:
            outcome = error

        async def answer(deadline: float) -> Accepted:
            await trio.sleep(0.001)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return SimpleNamespace(answer=answer, withdraw=lambda: None)

    def mark(self, chat_id: str, *, read_up_to: int) -> None:
        self._platform.marks[self.me.user_id, chat_id] = read_up_to

    async def history(self, chat_id: str, *, limit: int, after_ms: int = 0, after_id: int = 0) -> ListMessagesResponse:
        await trio.lowlevel.checkpoint()
        if not self.reads(chat_id):
            raise Refused("not_found", "There is no such chat.")
        newer = [m for m in self._platform.history if m.message_id > max(after_id, first_id_at(after_ms) - 1)]
        here = (m for m in newer if m.chat_id == chat_id and self.reads(chat_id, m.message_id))
        page = sorted(here, key=lambda m: m.message_id)
        items = [HistoryMessage(message=each, changes=self._state(each.message_id)) for each in page[:7]]
        return ListMessagesResponse(messages=items, has_newer=len(page) > len(items))

    def _state(self, place: Place) -> list[Event]:
        return [event for event in self._platform.states[place].values() if is_visible(event.change, self.me.user_id)]

    async def changes(self, chat_id: str, *, after: int) -> ListChangesResponse:
        await trio.lowlevel.checkpoint()
        feed = self._platform.feed(chat_id, after)
        events = [e for e in feed if self.reads(chat_id, e.event_id) and is_visible(e.change, self.me.user_id)]
        return ListChangesResponse(events=events, complete_up_to=self._platform.complete_up_to())

    async def chats(self, *, changed_since_ms: int = 0, limit: int, cursor: str = "") -> ListChatsResponse:
        await trio.lowlevel.checkpoint()
        mine = sorted(filter(self.reads, {message.chat_id for message in self._platform.history}))
        start = int(cursor or 0)
        more = str(start + 1) if start + 1 < len(mine) else ""
        chats = [self._chat(each) for each in mine[start : start + 1]]
        return ListChatsResponse(chats=chats, next_cursor=more, complete_up_to=self._platform.complete_up_to())

    def _chat(self, chat_id: str) -> Chat:
        user_id = self.me.user_id
        mark, begin = self._platform.marks.get((user_id, chat_id), 0), self._begin(chat_id)
        here = [m for m in self._platform.history if m.chat_id == chat_id and m.WhichOneof("content")]
        above = [m for m in here if m.message_id > mark and m.message_id >= begin]
        newest = [
            m for m in above[-self._platform.unread_among :] if not m.HasField("control") or m.message_id == begin
        ]
        unread = min(sum(m.sender_id != user_id for m in newest), 100)
        mentions = sum(m.sender_id != user_id and self._is_mentioned(m) for m in above)
        marks = [Mark(user_id=user_id, read_up_to=mark)]
        changes = self._state(chat_id)
        return Chat(chat_id=chat_id, marks=marks, unread=unread, unread_mentions=min(mentions, 100), changes=changes)

    def _begin(self, chat_id: str) -> int:
        """The first event of the user's last span."""
        return 0

    def _is_mentioned(self, message: Message) -> bool:
        edits = [event.change.edited.text for event in self._state(message.message_id)]
        text = next((edit for edit in edits if edit.body), message.text)
        return text.mentions_everyone or self.me.user_id in [mention.user_id for mention in text.mentions]


async def verify(platform: Any, plan: Plan = PLAN, during: Callable[[Run], Any] | None = None) -> Result:
    async with open_background() as nursery:
        run = Run(plan)
        await run.begin(platform, nursery)
        if during is not None:
            await during(run)
        return await run.finish()
