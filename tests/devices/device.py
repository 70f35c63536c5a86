"""A device: the Python client's session, and the chats that it keeps by the algorithm of docs/client-guide.md."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

import trio

from rookery.client import (
    Accepted,
    Client,
    Connected,
    Event,
    Gap,
    Message,
    Refused,
    SessionStream,
    State,
    TooOld,
    Unreachable,
    apply_change,
)
from rookery.v1.archive_pb2 import HistoryMessage, Mark
from rookery.v1.session_pb2 import Change, ClientFrame, Marked, Send
from shared.contract.changes import make_stub, wins
from tests.devices.world import Reader, World, WorldApi

PAGE = 100

IN_FLIGHT = 3
"""Commands of a device at once. More would be refused for long after one was refused, since they are not sent again in
order."""

Value = TypeVar("Value")


@dataclass
class View:
    """A chat on a device."""

    messages: dict[int, Message] = field(default_factory=dict)
    states: defaultdict[int, State] = field(default_factory=lambda: defaultdict(dict))
    floor: int = 0
    """The device has all messages from this one on."""

    def add(self, message: Message) -> None:
        mine = Message()
        mine.CopyFrom(message)
        if self.is_deleted(message.message_id):
            make_stub(mine)
        self.messages.setdefault(message.message_id, mine)

    def is_deleted(self, message_id: int) -> bool:
        return any(wins(event.change) for event in self.states[message_id].values())

    def apply(self, event: Event) -> None:
        if event.HasField("message"):
            self.add(event.message)
            return
        target_id = event.change.target_id
        apply_change(self.states[target_id], event)
        if wins(event.change) and (message := self.messages.get(target_id)):
            make_stub(message)

    def forget_before(self, floor: int) -> None:
        """Forget the messages that are older, of which some are missing."""
        self.floor = floor
        for known in (self.messages, self.states):
            for target_id in [each for each in known if 0 < each < floor]:
                del known[target_id]

    def add_history(self, item: HistoryMessage) -> None:
        for event in item.changes:
            self.apply(event)
        self.add(item.message)


class Device(Reader):
    """Chats as one device of a user keeps them, over crashes of everything."""

    def __init__(self, world: World, user_id: int, number: int, channel: str) -> None:
        super().__init__()
        self.world = world
        self.user_id = user_id
        self.number = number
        self.channel = channel
        """The channel that it has open."""
        self.api = WorldApi(world, user_id)
        self.client = self._new_client()
        self.chats: defaultdict[str, View] = defaultdict(View)
        self.listed_up_to = 0
        self.after: dict[str, int] = {}
        self.loses_position = False
        self.gaps = self.reloads = 0
        self.pending = 0
        """Commands that are not answered yet."""
        self._in_flight = trio.Semaphore(IN_FLIGHT)
        self.catching_up = 0
        """Gaps that are not closed yet."""
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery
        self._streams: list[trio.CancelScope] = []

    @property
    def is_quiet(self) -> bool:
        channels = self.client.channels
        is_behind = not channels.is_open(self.channel) or channels._open[self.channel].is_behind
        return self.client.is_connected and not self.catching_up and not self.pending and not is_behind

    # ---- lives and deaths

    async def run(self) -> None:
        """Be a process that is started again when it dies, with its kept data."""
        while True:
            catch_up = self.client.catch_up
            catch_up.listed_up_to, catch_up.after = self.listed_up_to, dict(self.after)
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self.client._reconnector.run)
                    self._nursery.start_soon(self.client.channels.run)
                    self._nursery.start_soon(self._open_channel)
                    await self._listen()
            await trio.sleep(self.world.random.uniform(0, 20))
            self.client = self._new_client()

    def die(self, *, forgets: bool) -> None:
        """End the process, perhaps with the loss of all that it has kept."""
        self._scope.cancel()
        if forgets:
            self.chats.clear()
            self.after.clear()
            self.listed_up_to = 0

    def _new_client(self) -> Client:
        return Client(cast(Any, self.api), "device", "grpc", self._connect)

    def disconnect(self) -> None:
        for scope in self._streams:
            scope.cancel()

    def _connect(self, endpoint: str) -> AbstractAsyncContextManager[SessionStream]:
        @asynccontextmanager
        async def connect() -> AsyncIterator[SessionStream]:
            gateway = self.world.gateways.get(endpoint)
            if gateway is None:
                raise Unreachable("no such gateway")
            async with gateway.connect(self) as stream:
                yield cast(SessionStream, _Line(self, stream))

        return connect()

    async def _listen(self) -> None:
        is_first = True
        async for event in self.client.events():
            match event:
                case Message():
                    self.chats[event.chat_id].add(event)
                case Event():
                    self.chats[event.change.chat_id].apply(event)
                case Gap():
                    self.gaps += 1
                    self._nursery.start_soon(self._catch_up, event)
                case Connected() if is_first:  # it begins without a position
                    is_first = False
                    self._nursery.start_soon(self._catch_up, None)
                case TooOld():
                    self._nursery.start_soon(self._load, event.chat_id)
                case _:
                    pass

    async def _open_channel(self) -> None:
        """Open the channel, and read its newest page, since what is kept of it is not followed by an id."""
        while not self.client.channels.is_open(self.channel):
            with suppress(Refused, Unreachable):
                await self.client.channels.open(self.channel)
        await self._load(self.channel)

    # ---- catching up

    async def _catch_up(self, gap: Gap | None) -> None:
        """Read missed events, until none is missing. A task of its own for each Gap."""
        self.catching_up += 1
        try:
            async with aclosing(self.client.catch_up.events(gap)) as events:
                async for event in events:
                    match event:
                        case Message():
                            self.chats[event.chat_id].add(event)
                        case Event():
                            self.chats[event.change.chat_id].apply(event)
                        case TooOld():
                            await self._load(event.chat_id)
                    self._keep_place()
            self._keep_place()
            await self._read_marks()
        finally:
            self.catching_up -= 1

    def _keep_place(self) -> None:
        """Keep the ids from which the next life continues."""
        self.listed_up_to, self.after = self.client.catch_up.listed_up_to, dict(self.client.catch_up.after)

    async def _load(self, chat_id: str) -> None:
        """Read the newest page. The device keeps its own messages of that page, which may be newer, and drops older
        ones, which have holes."""
        self.reloads += 1
        self.catching_up += 1
        try:
            page = await self._retry(partial(self.api.history, chat_id, limit=PAGE))
        finally:
            self.catching_up -= 1
        view = self.chats[chat_id]
        for item in page.messages:
            view.add_history(item)
        if page.has_older:
            view.forget_before(page.messages[0].message.message_id)

    async def _read_marks(self) -> None:
        for chat in await self._retry(self.api.all_chats):
            view = self.chats[chat.chat_id]
            for mark in chat.marks:
                view.apply(_marked(chat.chat_id, mark))
            for event in chat.changes:
                view.apply(event)

    async def _retry(self, request: Callable[[], Awaitable[Value]]) -> Value:
        while True:
            try:
                return await request()
            except Refused:
                await trio.sleep(1)

    # ---- commands

    async def send(self, send: Send) -> Event | Refused:
        """Send until there is an answer that no retry changes, over all deaths of the device."""
        send.client_message_id = self._new_client_id()
        answer = await self._persist(ClientFrame(send=send), send.client_message_id)
        if isinstance(answer, Refused):
            return answer
        message = Message(
            message_id=answer.event_id,
            chat_id=send.chat_id,
            sender_id=self.user_id,
            client_message_id=send.client_message_id,
            text=send.text,
            reply_to=send.reply_to,
            forwarded=send.forwarded,
        )
        self.chats[send.chat_id].add(message)
        return Event(event_id=answer.event_id, message=message)

    async def change(self, change: Change) -> Event | Refused:
        """Make a change, like `send`."""
        change.client_change_id = self._new_client_id()
        answer = await self._persist(ClientFrame(change=change), change.client_change_id)
        if isinstance(answer, Refused):
            return answer
        change.actor_id = self.user_id
        event = Event(event_id=answer.event_id, change=change)
        self.chats[change.chat_id].apply(event)
        return event

    def _new_client_id(self) -> str:
        return f"{self.number}-{self.world.random.getrandbits(60)}"

    async def _persist(self, frame: ClientFrame, client_id: str) -> Accepted | Refused:
        self.pending += 1
        try:
            async with self._in_flight:
                first_sent_ms = self.world.now_ms()
                while True:
                    copy = ClientFrame.FromString(frame.SerializeToString())  # the client writes an age into the frame
                    try:
                        return await self.client._submit(copy, client_id, first_sent_ms).answer(30)
                    except Unreachable:
                        pass
                    except Refused as refused:
                        if not refused.retryable:
                            return refused
                        await trio.sleep(refused.retry_after_ms / 1000 + self.world.random.expovariate(1 / 2))
        finally:
            self.pending -= 1


class _Line:
    """A connection that can be cut, and forgets the device's position."""

    def __init__(self, device: Device, stream: SessionStream) -> None:
        self._device = device
        self._stream = stream

    async def send(self, frame: Any) -> None:
        if frame.HasField("authenticate") and self._device.loses_position:
            self._device.loses_position = False
            frame.authenticate.last_position.epoch = 0
        await self._stream.send(frame)

    async def receive(self) -> Any:
        with trio.CancelScope() as scope:
            self._device._streams.append(scope)
            try:
                return await self._stream.receive()
            finally:
                self._device._streams.remove(scope)
        raise Unreachable("the connection is lost")


def _marked(chat_id: str, mark: Mark) -> Event:
    marked = Marked(delivered_up_to=mark.delivered_up_to, read_up_to=mark.read_up_to)
    return Event(change=Change(chat_id=chat_id, actor_id=mark.user_id, marked=marked))
