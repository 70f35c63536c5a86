"""A platform in one task tree on a mock clock: gateways and archives on the embedded engines, and their faults.

Everything runs in Trio's thread: engines take random moments of the mock clock, and never real ones, so that an hour
costs seconds and a seed mostly leads to the same run (always with PYTHONHASHSEED=0 and nothing before it).
"""

import itertools
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
import trio
from trio.testing import MockClock

from messaging.archive.queries import ArchiveQueries
from messaging.archive.recorder import Recorder
from messaging.archive.store.protocol import ChatStore, Logged
from messaging.archive.store.sqlite.store import open_sqlite_chats
from messaging.gateway.frames import ProtobufEncoding
from messaging.gateway.gateway import Gateway
from messaging.gateway.transports.connection import Connection, Flusher, SendUnsent
from rookery.client import GatewayEndpoints, Refused, SessionStream, Unreachable, list_chats
from rookery.v1.archive_pb2 import (
    Chat,
    FindSentRequest,
    GetChatRequest,
    GetFilesRequest,
    GetGroupRequest,
    GetMessageRequest,
    GetMessageResponse,
    Group,
    ListChangesRequest,
    ListChangesResponse,
    ListChatsRequest,
    ListChatsResponse,
    ListMessagesRequest,
    ListMessagesResponse,
    StoredFile,
)
from rookery.v1.files_pb2 import FileRef
from rookery.v1.session_pb2 import ClientFrame, Event, ServerFrame
from shared import bridge
from shared.accounts.people import Relationship
from shared.accounts.store import User
from shared.accounts.tokens import Claims
from shared.background import open_background
from shared.backplane import Record
from shared.backplane.protocol import Done
from shared.backplane.sqlite.log import SqliteLog, open_sqlite_log
from shared.bridge import BatchThread
from shared.configuration import LiveConfiguration
from shared.configuration.live import Live
from shared.contract import ids
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import SnowflakeGenerator
from shared.contract.partitions import partition_of
from shared.coordination.ownership import GatewayAddress, LocalDirectory
from shared.drivers import sqlite
from shared.signals.memory import LocalSignals

PARTITIONS = 4
USERS = (1, 2, 3)
BEGAN_MS = 1_790_000_000_000
GATEWAYS = ARCHIVES = 2

CONFIGURATION = LiveConfiguration(
    tail_seconds=60, replay_seconds=1, replay_events=200, session_queue_frames=100, frames_per_second=100_000
)
"""Short tails and queues, so that retries look in history, and clients get Gaps."""


class World:
    """The platform, and the switches of its faults. `random` decides everything."""

    def __init__(self, seed: int, clock: MockClock) -> None:
        self.random = random.Random(seed)
        self.clock = clock
        self.log: SqliteLog
        self.chats: ChatStore
        self.nursery: trio.Nursery
        self.directory = LocalDirectory()
        self.gateways: dict[str, RunningGateway] = {}
        self.skews = [0] * GATEWAYS
        """By gateway, milliseconds that its clock is ahead."""
        self.archives = [RunningArchive(self) for _ in range(ARCHIVES)]
        self.engine_seconds = 0.002
        """The mean time that a transaction takes."""
        self.stalled_until = 0.0
        """No engine commits before."""
        self.logged_ms: dict[int, int] = {}
        """When the log stored each event first, by event id."""
        self._numbers = itertools.count(1)

    def now_ms(self) -> int:
        return BEGAN_MS + int(self.clock.current_time() * 1000)

    async def take_time(self) -> None:
        """Take as long as an engine takes."""
        await trio.sleep(self.random.expovariate(1 / self.engine_seconds))
        await trio.sleep_until(self.stalled_until)

    def start_gateway(self, place: int) -> None:
        gateway = RunningGateway(self, place, next(self._numbers))
        self.gateways[gateway.endpoint] = gateway
        self.nursery.start_soon(gateway.run)

    async def gateway_of(self, user_id: int) -> "RunningGateway":
        """The gateway that owns the user. Raises Refused."""
        with trio.move_on_after(5):
            while True:
                owner = self.directory.owner(partition_of(user_id, PARTITIONS))
                if owner is not None and owner.grpc in self.gateways:
                    return self.gateways[owner.grpc]
                await trio.sleep(0.1)
        raise Refused("unavailable", "No gateway.", retryable=True, retry_after_ms=200)

    def queries(self) -> ArchiveQueries:
        """The queries of a random archive. Raises Refused."""
        archive = self.random.choice(self.archives)
        if not archive.is_reachable:
            raise Refused("unavailable", "No archive.", retryable=True, retry_after_ms=200)
        return archive.queries


@dataclass
class RunningArchive:
    """An archive that records slowly, not at all, or does not answer queries."""

    world: World
    is_reachable: bool = True
    paused_until: float = 0.0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    queries: ArchiveQueries = field(init=False)

    async def run(self) -> None:
        """Record, and again from the beginning when it is killed."""
        while True:
            self.queries = ArchiveQueries(self.world.chats, PARTITIONS)
            with trio.CancelScope() as self.scope:
                async with open_background() as nursery:
                    nursery.start_soon(self.queries.run)
                    await Recorder(self.world.log, cast(ChatStore, self)).run()
            await trio.sleep(self.world.random.uniform(0, 15))

    async def record(self, events: Sequence[Logged], offsets: Mapping[int, int]) -> None:
        await trio.sleep_until(self.paused_until)
        for event, at_ms in events:
            self.world.logged_ms.setdefault(event.event_id, at_ms)
        await self.world.chats.record(events, offsets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world.chats, name)


class RunningGateway:
    """A gateway, which can be killed, and its connections."""

    def __init__(self, world: World, place: int, number: int) -> None:
        self.world = world
        self.place = place
        self.endpoint = f"gateway-{number}:1"
        self.dies_at_publish = False
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery
        self._flusher = Flusher()
        self.log = GatewayLog(world, self)
        self.gateway = Gateway(
            address=GatewayAddress(f"ws://gateway-{number}/session", self.endpoint),
            backplane=cast(Any, self.log),
            accounts=cast(Any, self),
            verifier=cast(Any, self),
            history=self,
            directory=world.directory,
            live=Live.fixed(CONFIGURATION),
            ids=SnowflakeGenerator(number % ids.GENERATORS, lambda: world.now_ms() + world.skews[place]),
            signals=LocalSignals(),
        )

    async def run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._flusher.run)
                    self._nursery.start_soon(self.gateway.tick_forever)
                    await self.gateway.log_consumer.run()
                    await trio.sleep_forever()
        finally:
            self.world.gateways.pop(self.endpoint, None)

    def kill(self) -> None:
        self.world.gateways.pop(self.endpoint, None)
        self._scope.cancel()

    async def stop(self) -> None:
        with trio.move_on_after(3):
            await self.gateway.drain()
        self.kill()

    # ---- accounts and tokens: a user's token is the id

    async def users(self, user_ids: Sequence[int]) -> list[Any]:
        await self.world.take_time()
        return [User.new(each, f"user{each}", None, 1) for each in user_ids]

    async def relationships(self, user_id: int, other_ids: Sequence[int]) -> dict[int, Relationship]:
        await self.world.take_time()
        return {each: Relationship(user_id, each) for each in other_ids}

    async def read(self, token: str) -> Claims:
        await trio.lowlevel.checkpoint()
        return Claims(int(token), "family", 2**60)

    async def check(self, claims: Claims) -> Claims:
        await trio.lowlevel.checkpoint()
        return claims

    async def verify(self, token: str) -> Claims:
        return await self.check(await self.read(token))

    async def note_last_seen(self, seen: Mapping[int, int]) -> None:
        await self.world.take_time()

    # ---- history

    async def find_message(self, user_id: int, chat_id: str, message_id: int) -> GetMessageResponse | Refusal:
        request = GetMessageRequest(user_id=user_id, chat_id=chat_id, message_id=message_id)
        return cast(GetMessageResponse | Refusal, await self._ask("GetMessage", request))

    async def has_message(self, user_id: int, chat_id: str) -> bool | Refusal:
        answer = await self._ask("GetChat", GetChatRequest(user_id=user_id, chat_id=chat_id))
        return answer if isinstance(answer, Refusal) else bool(answer.chat.HasField("newest"))

    async def find_own_change(self, user_id: int, chat_id: str, kind: str) -> Event | Refusal | None:
        raise AssertionError("gateways have no previewer")

    async def find_versions(self, user_id: int, chat_id: str, message_id: int, kind: str) -> Sequence[Event] | Refusal:
        raise AssertionError("gateways have no previewer")

    async def find_sent(self, user_id: int, chat_id: str, client_id: str) -> Event | Refusal | None:
        answer = await self._ask("FindSent", FindSentRequest(user_id=user_id, chat_id=chat_id, client_id=client_id))
        if isinstance(answer, Refusal):
            return answer
        return answer.event if answer.HasField("event") else None

    async def find_group(self, chat_id: str, user_ids: Collection[int] = ()) -> Group | Refusal | None:
        answer = await self._ask("GetGroup", GetGroupRequest(chat_id=chat_id, user_ids=user_ids))
        if isinstance(answer, Refusal):
            return answer
        return answer.group if answer.HasField("group") else None

    async def find_files(self, user_id: int, files: Sequence[FileRef]) -> Sequence[StoredFile] | Refusal:
        answer = await self._ask("GetFiles", GetFilesRequest(user_id=user_id, files=files))
        return answer if isinstance(answer, Refusal) else cast(Sequence[StoredFile], answer.files)

    async def _ask(self, method: str, request: Any) -> Any:
        try:
            queries = self.world.queries()
        except Refused as refused:
            return Refusal(Code.UNAVAILABLE, refused.message, retry_after_ms=200)
        return await getattr(queries, method)(request)

    # ---- connections

    @asynccontextmanager
    async def connect(self, reader: "Reader") -> AsyncIterator[SessionStream]:
        to_server, from_client = trio.open_memory_channel[ClientFrame](0)
        to_client, from_server = trio.open_memory_channel[ServerFrame](math.inf)

        async def serve() -> None:
            session = self.gateway.open_session(ProtobufEncoding())
            try:
                transport = _Transport(from_client, to_client, reader)
                await Connection(self.gateway.dispatcher, session, transport, self._flusher).run()
            finally:
                self.gateway.close_session(session)
                to_client.close()
                from_client.close()

        if self._scope.cancel_called or not hasattr(self, "_nursery"):
            raise Unreachable("the gateway is dead, or not yet there")
        self._nursery.start_soon(serve)
        with to_server, from_server:
            yield _Stream(to_server, from_server)


class Reader:
    """A client's end, which may stop reading."""

    def __init__(self) -> None:
        self.stops_until = 0.0


class _Transport:
    def __init__(
        self,
        from_client: trio.MemoryReceiveChannel[ClientFrame],
        to_client: trio.MemorySendChannel[ServerFrame],
        reader: Reader,
    ) -> None:
        self._from_client = from_client
        self._to_client = to_client
        self._reader = reader

    async def receive(self) -> ClientFrame | Refusal | None:
        async for frame in self._from_client:
            return frame
        return None

    def send(self, frames: list[bytes]) -> SendUnsent | None:
        if self._reader.stops_until <= trio.current_time():
            self._pass(frames)
            return None

        async def send_unsent() -> None:
            await trio.sleep_until(self._reader.stops_until)
            self._pass(frames)

        return send_unsent

    def _pass(self, frames: list[bytes]) -> None:
        try:
            for frame in frames:
                self._to_client.send_nowait(ServerFrame.FromString(frame))
        except trio.BrokenResourceError:
            pass  # the client has gone: the session ends at the next read


class _Stream:
    def __init__(
        self, to_server: trio.MemorySendChannel[ClientFrame], from_server: trio.MemoryReceiveChannel[ServerFrame]
    ) -> None:
        self._to_server = to_server
        self._from_server = from_server

    async def send(self, frame: ClientFrame) -> None:
        try:
            await self._to_server.send(ClientFrame.FromString(frame.SerializeToString()))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Unreachable("the connection is lost") from error

    async def receive(self) -> ServerFrame | None:
        async for frame in self._from_server:
            return frame
        raise Unreachable("the connection is lost")


class GatewayLog:
    """The log as one gateway reaches it: a publish may fail, stored or not, or be the gateway's last."""

    def __init__(self, world: World, gateway: RunningGateway) -> None:
        self._world = world
        self._gateway = gateway
        self.fails_until = 0.0

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        fate, log = self._world.random, self._world.log
        if self._gateway.dies_at_publish:  # before, between or after its records
            self._gateway.dies_at_publish = False
            if written := records[: fate.randrange(len(records) + 1)]:
                log.publish(written, lambda _: None)
            self._gateway.kill()
        elif trio.current_time() < self.fails_until and len(records[0].value) > 40:
            if fate.random() < 0.1:
                log.publish(records[: fate.randrange(1, len(records) + 1)], lambda _: None)
            done(Unavailable("The log did not answer."))
        else:
            log.publish(records, done, until=until)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.log, name)


class Answer(NamedTuple):
    """The promise of an answer about the changes of a chat: every event between its two ids."""

    chat_id: str
    after: int
    complete_up_to: int
    event_ids: frozenset[int]


class WorldApi:
    """The HTTP API as a client sees it, without HTTP. Lists may have one chat on a page."""

    newest_token = ""

    def __init__(self, world: World, user_id: int) -> None:
        self.me = SimpleNamespace(user_id=user_id)
        self.answers: list[Answer] = []
        self._world = world
        self._user_id = user_id

    async def access_token(self, *, older_than: str = "") -> str:
        await trio.lowlevel.checkpoint()
        return str(self._user_id)

    async def gateway(self, unreachable: str = "") -> GatewayEndpoints:
        return GatewayEndpoints("", (await self._world.gateway_of(self._user_id)).endpoint)

    async def chats(self, *, changed_since_ms: int = 0, limit: int = 50, cursor: str = "") -> ListChatsResponse:
        limit = self._world.random.choice([1, limit])
        request = ListChatsRequest(user_id=self._user_id, changed_since_ms=changed_since_ms, limit=limit, cursor=cursor)
        return cast(ListChatsResponse, await self._ask("ListChats", request))

    async def all_chats(self) -> list[Chat]:
        chats, _ = await list_chats(self.chats)
        return [*chats.values()]

    async def history(self, chat_id: str, *, limit: int = 50, **anchor: Any) -> ListMessagesResponse:
        request = ListMessagesRequest(user_id=self._user_id, chat_id=chat_id, limit=limit, **anchor)
        return cast(ListMessagesResponse, await self._ask("ListMessages", request))

    async def changes(self, chat_id: str, *, after: int) -> ListChangesResponse:
        request = ListChangesRequest(user_id=self._user_id, chat_id=chat_id, after=after)
        answer: ListChangesResponse = await self._ask("ListChanges", request)
        event_ids = frozenset(event.event_id for event in answer.events)
        self.answers.append(Answer(chat_id, after, answer.complete_up_to, event_ids))
        return answer

    async def _ask(self, method: str, request: Any) -> Any:
        await trio.lowlevel.checkpoint()
        answer = await getattr(self._world.queries(), method)(request)
        if isinstance(answer, Refusal):
            retryable = answer.code is Code.UNAVAILABLE
            raise Refused(answer.code, answer.message, field=answer.field, retryable=retryable)
        await self._world.take_time()
        return answer


# ---- engines in Trio's thread


class InlineBatches(BatchThread[Any, Any]):
    """A BatchThread without a thread: its batches run in Trio's, after the world's time for a transaction."""

    def __init__(self) -> None:
        super().__init__("inline", bridge.MAX_BATCH, bridge.MAX_PENDING)
        self._has_jobs = trio.Event()

    def submit(self, job: Any, done: Callable[[Any], None]) -> None:
        super().submit(job, done)
        self._has_jobs.set()

    async def work(self, world: World, handle: Callable[[list[Any]], Sequence[Any]]) -> None:
        while True:
            await self._has_jobs.wait()
            self._has_jobs = trio.Event()
            await world.take_time()
            self._queue.put(None)  # which ends `_run` behind the jobs
            self._run(handle)


@asynccontextmanager
async def open_world(seed: int, clock: MockClock, folder: Path, patch: pytest.MonkeyPatch) -> AsyncGenerator[World]:
    """Start the platform: all gateways and archives."""
    world = World(seed, clock)
    random.seed(seed)

    @asynccontextmanager
    async def open_batches(name: str, start: Any, *, stop: Any = None, **_: Any) -> AsyncIterator[InlineBatches]:
        batches = InlineBatches()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(batches.work, world, start())
            yield batches
            nursery.cancel_scope.cancel()
        stop()

    async def run_inline(function: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        await world.take_time()
        return function(*arguments)

    connect = sqlite.connect

    def connect_fast(path: Path, _: Any = None) -> Any:
        connection = connect(path)
        connection.execute("PRAGMA synchronous = OFF")  # nothing here ends the process
        return connection

    patch.setattr(ids, "time", SimpleNamespace(time_ns=lambda: world.now_ms() * 1_000_000))
    patch.setattr("shared.backplane.sqlite.log.open_batch_thread", open_batches)
    patch.setattr("shared.drivers.sqlite.open_batch_thread", open_batches)
    patch.setattr(sqlite, "connect", connect_fast)
    patch.setattr(trio.to_thread, "run_sync", run_inline)
    async with (
        open_sqlite_log(folder / "log.sqlite3", partitions=PARTITIONS, retention_hours=1_000) as world.log,
        open_sqlite_chats(folder / "chats.sqlite3") as world.chats,
        trio.open_nursery() as world.nursery,
    ):
        for archive in world.archives:
            world.nursery.start_soon(archive.run)
        for place in range(GATEWAYS):
            world.start_gateway(place)
        yield world
        world.nursery.cancel_scope.cancel()
