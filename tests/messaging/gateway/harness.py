"""A gateway on the embedded engines, and clients that are connected to it through memory."""

import itertools
import math
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import trio

from messaging.gateway.frames import ProtobufEncoding
from messaging.gateway.gateway import Gateway
from messaging.gateway.groups.commands import decide
from messaging.gateway.previews import Previewer
from messaging.gateway.transports.connection import Connection, Flusher
from rookery.v1.archive_pb2 import FILE_STATE_COMPLETE, FileState, GetMessageResponse, Group, HistoryMessage, StoredFile
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.group_service_pb2 import AddMembers, ChangeGroupRequest, CreateGroup, RemoveMember
from rookery.v1.groups_pb2 import Control, GroupSettings
from rookery.v1.session_pb2 import (
    Accepted,
    Authenticate,
    Change,
    ClientFrame,
    Event,
    Message,
    Position,
    Refused,
    Send,
    ServerFrame,
    Text,
)
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore, Family, User
from shared.accounts.tokens import TokenIssuer, TokenVerifier, digest
from shared.background import open_background
from shared.backplane import (
    Assignment,
    Backplane,
    Checkpoint,
    Consumer,
    DeadLetter,
    Destination,
    Fetched,
    Record,
    StoredRecord,
)
from shared.backplane.protocol import Done
from shared.backplane.sqlite.log import open_sqlite_log
from shared.configuration import LiveConfiguration
from shared.configuration.live import Live
from shared.contract.errors import Refusal, Unavailable
from shared.contract.groups import Roster, is_kept
from shared.contract.ids import MAX_ID, SnowflakeGenerator, wall_clock_ms
from shared.coordination.ownership import GatewayAddress, LocalDirectory
from shared.signals.memory import LocalSignals
from shared.signals.protocol import Signals

PATIENCE = 20.0
"""Seconds; only ends a test that has failed."""

REPLAY_SECONDS = 60.0
"""The maximum: earlier events are replayed to a session, however slow the machine is."""

PARTITIONS = 4
ALL = frozenset(range(PARTITIONS))

ANN, BEN, CAT = 1, 2, 3
"""Users of the platform."""


def text_frame(client_id: str, recipient_id: int = BEN, body: str = "hi") -> ClientFrame:
    return ClientFrame(send=Send(client_message_id=client_id, recipient_id=recipient_id, text=Text(body=body)))


def file_frame(client_id: str, *files: FileRef, body: str = "", to: int = BEN) -> ClientFrame:
    text = Text(body=body) if body else None
    return ClientFrame(send=Send(client_message_id=client_id, recipient_id=to, text=text, files=files))


def change_frame(client_id: str, target_id: int = 0, *, chat_id: str = "d-1-2", **body: Any) -> ClientFrame:
    return ClientFrame(change=Change(chat_id=chat_id, target_id=target_id, client_change_id=client_id, **body))


def client_id_of(event: Event) -> str:
    return event.message.client_message_id or event.change.client_change_id


def stored_group(roster: Roster) -> Group:
    """The group as the archive has it, with all members."""
    return Group(
        chat_id=roster.chat_id,
        version=roster.version,
        settings=roster.settings,
        members=[each for each in roster.members.values() if is_kept(each)],
        invites=roster.invites.values(),
        member_count=roster.member_count,
    )


def looked_up(group: Group, user_ids: Collection[int]) -> Group:
    """The group, of a channel the members that the archive returns if it is asked for these users."""
    if not group.settings.is_channel:
        return group
    found, wanted = Group(), {*user_ids, *(invite.creator_id for invite in group.invites)}
    found.CopyFrom(group)
    del found.members[:]
    found.members.extend(each for each in group.members if each.user_id in wanted or each.asked_at_ms)
    return found


class Crew:
    """A group, as its sequencer changes it."""

    def __init__(self, *user_ids: int, number: int = 7, **settings: Any) -> None:
        """Created by the first user."""
        self.roster = Roster.empty(f"g-{number}")
        self.events: list[Event] = []
        """The control changes."""
        others = CreateGroup(settings=GroupSettings(name="Crew", **settings), user_ids=user_ids[1:])
        self.change(1, user_ids[0], create=others)

    @property
    def chat_id(self) -> str:
        return self.roster.chat_id

    @property
    def stored(self) -> Group:
        """The group as the archive has it."""
        return stored_group(self.roster)

    def change(self, event_id: int, user_id: int = ANN, **change: Any) -> Event:
        """The control change with this id that a request makes."""
        control = decide(ChangeGroupRequest(**change), user_id, self.roster, event_id)
        assert isinstance(control, Control), control
        self.roster = self.roster.after(control)
        message = Message(message_id=event_id, chat_id=self.chat_id, sender_id=user_id, control=control)
        message.client_message_id = f"control:{control.version}"
        self.events.append(Event(event_id=event_id, message=message))
        return self.events[-1]

    def add(self, event_id: int, *user_ids: int) -> Event:
        return self.change(event_id, add_members=AddMembers(user_ids=user_ids))

    def remove(self, event_id: int, user_id: int) -> Event:
        return self.change(event_id, remove_member=RemoveMember(user_id=user_id))

    def control(self, version: int) -> Control:
        return self.events[version - 1].message.control


class ScriptedHistory:
    """An archive of these messages, which responds while it is `open`."""

    def __init__(self) -> None:
        self.messages: dict[int, HistoryMessage] = {}
        self.groups: dict[str, Group] = {}
        """By chat id."""
        self.sent: dict[str, Event] = {}
        """By client id."""
        self.versions: dict[tuple[int, str], list[Event]] = {}
        """By message and kind."""
        self.own_changes: dict[str, Event] = {}
        """By kind, the newest of any user and chat."""
        self.own_finds = 0
        """How often one of these was looked up."""
        self.files: dict[int, StoredFile] = {}
        """By file id; each user may read them."""
        self.finds = 0
        """How often a client id, a group or files were looked up."""
        self.wanted: list[set[int]] = []
        """The users of each look-up of a group."""
        self.complete_up_to = MAX_ID
        self.refusal: Refusal | None = None
        self.open = trio.Event()
        self.open.set()

    def add(self, message_id: int, sender_id: int = BEN, **change: Any) -> None:
        """Add a message, and its change, of any chat."""
        state = [Event(event_id=1, change=Change(**change))] if change else []
        self.messages[message_id] = HistoryMessage(message=Message(sender_id=sender_id), changes=state)

    def add_file(self, file_id: int, state: FileState = FILE_STATE_COMPLETE) -> FileInfo:
        """Add a file, and return it."""
        file = FileInfo(file_id=file_id, name=f"{file_id}.png", media_type="image/png", size=5)
        self.files[file_id] = StoredFile(file=file, state=state)
        return file

    async def find_message(self, user_id: int, chat_id: str, message_id: int) -> GetMessageResponse | Refusal:
        await self.open.wait()
        found = GetMessageResponse(message=self.messages.get(message_id), complete_up_to=self.complete_up_to)
        return self.refusal or found

    async def has_message(self, user_id: int, chat_id: str) -> bool | Refusal:
        await self.open.wait()
        return self.refusal or chat_id in {each.message.chat_id for each in self.messages.values()}

    async def find_own_change(self, user_id: int, chat_id: str, kind: str) -> Event | Refusal | None:
        self.own_finds += 1
        await self.open.wait()
        return self.refusal or self.own_changes.get(kind)

    async def find_versions(self, user_id: int, chat_id: str, message_id: int, kind: str) -> Sequence[Event] | Refusal:
        await self.open.wait()
        return self.refusal or self.versions.get((message_id, kind), [])

    async def find_sent(self, user_id: int, chat_id: str, client_id: str) -> Event | Refusal | None:
        self.finds += 1
        await self.open.wait()
        return self.refusal or self.sent.get(client_id)

    async def is_complete(self, partition: int) -> bool:
        return True

    async def find_group(self, chat_id: str, user_ids: Collection[int] = ()) -> Group | Refusal | None:
        self.finds += 1
        self.wanted.append(set(user_ids))
        await self.open.wait()
        group = self.groups.get(chat_id)
        return self.refusal or (None if group is None else looked_up(group, user_ids))

    async def find_files(self, user_id: int, files: Sequence[FileRef]) -> Sequence[StoredFile] | Refusal:
        self.finds += 1
        await self.open.wait()
        return self.refusal or [self.files[each.file_id] for each in files if each.file_id in self.files]


@dataclass
class Client:
    """The far end of a session."""

    to_server: trio.MemorySendChannel[ClientFrame | Refusal]
    from_server: trio.MemoryReceiveChannel[ServerFrame]
    frames: list[ServerFrame] = field(default_factory=list)

    async def send(self, frame: ClientFrame | Refusal) -> None:
        await self.to_server.send(frame)

    async def send_text(self, client_id: str, recipient_id: int) -> None:
        await self.send(text_frame(client_id, recipient_id))

    async def send_accepted(self, client_id: str, recipient_id: int) -> Accepted:
        """Send a text, and return its Accepted."""
        return await self.accepted(text_frame(client_id, recipient_id))

    async def accepted(self, frame: ClientFrame) -> Accepted:
        """Send a frame, and return the next Accepted."""
        await self.send(frame)
        return (await self.until("accepted")).accepted

    async def refused(self, frame: ClientFrame) -> Refused:
        """Send a frame, and return the next Refused."""
        await self.send(frame)
        return (await self.until("refused")).refused

    async def next(self) -> ServerFrame:
        with trio.fail_after(PATIENCE):
            frame = await self.from_server.receive()
        self.frames.append(frame)
        return frame

    async def expect(self, kind: str) -> ServerFrame:
        frame = await self.next()
        assert frame.WhichOneof("frame") == kind, frame
        return frame

    async def until(self, kind: str) -> ServerFrame:
        """The next frame of the kind; earlier ones are in `frames`."""
        while (frame := await self.next()).WhichOneof("frame") != kind:
            pass
        return frame

    async def ended(self) -> bool:
        """Wait until the server has closed; the last frames are in `frames`."""
        with trio.fail_after(PATIENCE):
            async for frame in self.from_server:
                self.frames.append(frame)
        return True


class MemoryTransport:
    """A transport of two channels, which sends all frames at once."""

    def __init__(
        self,
        from_client: trio.MemoryReceiveChannel[ClientFrame | Refusal],
        to_client: trio.MemorySendChannel[ServerFrame],
    ) -> None:
        self._from_client = from_client
        self._to_client = to_client

    async def receive(self) -> ClientFrame | Refusal | None:
        async for frame in self._from_client:
            return frame
        return None

    def send(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._to_client.send_nowait(ServerFrame.FromString(frame))


class ScriptedLog:
    """A Backplane whose one consumer gets the events of the test, and whose publishers wait for `acknowledge`. Fences
    are stored at once, after `fence_failures`."""

    partitions = PARTITIONS
    destination = Destination("memory", "log")

    def __init__(self) -> None:
        self.held_until = math.inf
        self.fetches = 0
        """How often the consumer has fetched: it has handled all earlier events."""
        self.has_left = False
        self.recorded = 0
        """The offset that the archives have committed in each partition."""
        self.end = 0
        """The result of `end_offset` for each partition; `offset_at` returns one more."""
        self.sought: dict[int, int] = {}
        self.withdrawn: set[int] = set()
        self.unacknowledged: list[tuple[Sequence[Record], Done]] = []
        self.fence_failures: list[Unavailable] = []
        """The answers to the next fences."""
        self.overtaking: dict[int, list[Envelope]] = {}
        """By partition, records that are stored just before its next fence."""
        self._ends: dict[int, int] = {}
        self._to_consumer, self._events = trio.open_memory_channel[Fetched | Assignment](math.inf)

    def assign(self, gained: frozenset[int], lost: frozenset[int], epoch: int) -> None:
        self._to_consumer.send_nowait(Assignment(gained, lost, epoch))

    def deliver(self, records: Iterable[StoredRecord]) -> None:
        self._to_consumer.send_nowait(Fetched(tuple(records)))

    def acknowledge(self, failure: Exception | None = None) -> None:
        """Acknowledge all records, or fail them."""
        for records, done in self.unacknowledged:
            done(failure or range(len(records)))
        self.unacknowledged.clear()

    def store(self, partition: int, envelope: Envelope) -> int:
        """Append a record that the consumer fetches; return its offset."""
        offset = self._ends.get(partition, max(self.end, self.sought[partition]))
        self._ends[partition] = offset + 1
        record = StoredRecord(partition, offset, wall_clock_ms(), envelope.SerializeToString())
        self._to_consumer.send_nowait(Fetched([record]))
        return offset

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        envelope = Envelope.FromString(records[0].value)
        if not envelope.HasField("fence"):
            self.unacknowledged.append((records, done))
        elif self.fence_failures:
            done(self.fence_failures.pop(0))
        else:
            partition = records[0].partition
            for earlier in self.overtaking.pop(partition, ()):
                self.store(partition, earlier)
            done([self.store(partition, envelope)])

    def withdraw(self, partitions: Collection[int]) -> None:
        self.withdrawn.update(partitions)

    async def until_published(self, count: int = 1) -> None:
        """Wait until so many publishers wait. `wait_all_tasks_blocked` can't: recipients are looked up in a thread."""
        with trio.fail_after(PATIENCE):
            while len(self.unacknowledged) < count:
                await trio.sleep(0.001)

    @asynccontextmanager
    async def consume(self, group: str, *, gather: float = 0.0) -> AsyncIterator[Consumer]:
        try:
            yield self
        finally:
            self.has_left = True

    async def fetch(self) -> Fetched | Assignment:
        self.fetches += 1
        return await self._events.receive()

    def lag(self) -> Mapping[int, int]:
        return {}

    def seek(self, partition: int, offset: int) -> None:
        self.sought[partition] = offset

    async def commit(self, checkpoints: Mapping[int, Checkpoint]) -> None:
        raise AssertionError

    async def committed(self, partitions: Collection[int]) -> Mapping[int, Checkpoint]:
        raise AssertionError

    async def end_offset(self, partition: int) -> int:
        await trio.lowlevel.checkpoint()
        return self.end

    async def offset_at(self, partition: int, at_ms: int) -> int:
        await trio.lowlevel.checkpoint()
        return self.end + 1 if self.end else 0

    async def committed_offset(self, group: str, partition: int) -> int:
        await trio.lowlevel.checkpoint()
        return self.recorded

    async def dead_letter(self, letter: DeadLetter) -> None:
        raise AssertionError

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        raise AssertionError


class Platform:
    """Gateways on one log, with users and their tokens."""

    def __init__(self, folder: Path, nursery: trio.Nursery, backplane: Backplane, accounts: AccountStore) -> None:
        self.folder = folder
        self.nursery = nursery
        self.backplane = backplane
        self.accounts = accounts
        self.issuer = TokenIssuer(accounts)
        self.history = ScriptedHistory()
        self.directory = LocalDirectory()
        self.signals = cast(Signals, LocalSignals())
        self.flusher = Flusher()
        nursery.start_soon(self.flusher.run)
        self._numbers = itertools.count(1)

    async def start_gateway(
        self,
        configuration: LiveConfiguration | None = None,
        previewer: Previewer | None = None,
        ids: SnowflakeGenerator | None = None,
    ) -> Gateway:
        """A gateway that runs until the platform ends."""
        number = next(self._numbers)
        gateway = Gateway(
            address=GatewayAddress(f"ws://gateway-{number}/session", f"gateway-{number}:1"),
            backplane=self.backplane,
            accounts=self.accounts,
            verifier=TokenVerifier(self.accounts),
            history=self.history,
            directory=self.directory,
            live=Live.fixed(configuration or LiveConfiguration(replay_seconds=REPLAY_SECONDS)),
            ids=ids or SnowflakeGenerator(number),
            signals=self.signals,
            previewer=previewer,
        )
        await self.nursery.start(gateway.signals.run)
        await self.nursery.start(gateway.log_consumer.run)
        self.nursery.start_soon(gateway.tick_forever)
        self.nursery.start_soon(gateway.sequencer.run)
        self.nursery.start_soon(gateway.follows.run)
        if gateway.previews is not None:
            self.nursery.start_soon(gateway.previews.run)
        return gateway

    async def add_user(self, user_id: int) -> None:
        await self.accounts.add_user(User(user_id, f"user{user_id}", f"User {user_id}", "", 1, 1), "no hash")

    async def token(self, user_id: int, family_id: str = "", lifetime_seconds: int = 600) -> str:
        family_id = family_id or f"family-{user_id}"
        if not await self.accounts.is_live(family_id):
            family = Family(family_id, user_id, "test", 1)
            await self.accounts.start_family(family, digest(family_id), 2**60)
        return (await self.issuer.issue(user_id, family_id, lifetime_seconds)).token

    @asynccontextmanager
    async def connect(self, gateway: Gateway) -> AsyncIterator[Client]:
        """A connection whose client has sent nothing yet."""
        to_server, from_client = trio.open_memory_channel[ClientFrame | Refusal](0)
        to_client, from_server = trio.open_memory_channel[ServerFrame](10_000)

        async def serve() -> None:
            session = gateway.open_session(ProtobufEncoding())
            try:
                await Connection(
                    gateway.dispatcher, session, MemoryTransport(from_client, to_client), self.flusher
                ).run()
            finally:
                gateway.close_session(session)
                to_client.close()

        async with open_background() as nursery:
            nursery.start_soon(serve)
            yield Client(to_server, from_server)

    @asynccontextmanager
    async def sign_in(self, gateway: Gateway, user_id: int, position: Position | None = None) -> AsyncIterator[Client]:
        """A live session; its Welcome is its first frame."""
        async with self.connect(gateway) as client:
            frame = Authenticate(access_token=await self.token(user_id), last_position=position)
            await client.send(ClientFrame(authenticate=frame))
            await client.expect("welcome")
            yield client


@asynccontextmanager
async def open_platform(folder: Path) -> AsyncIterator[Platform]:
    """Users 1 to 9 on a log and an account store in the folder."""
    async with (
        open_sqlite_log(folder / "log.sqlite3", partitions=PARTITIONS, retention_hours=1) as log,
        open_sqlite_accounts(folder / "accounts.sqlite3") as accounts,
        open_background() as nursery,
    ):
        platform = Platform(folder, nursery, log, accounts)
        for user_id in range(1, 10):
            await platform.add_user(user_id)
        yield platform
