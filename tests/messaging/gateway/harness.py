"""A gateway on the real embedded engines, and clients that speak to it through memory."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import trio

from messaging.gateway.frames import ProtobufEncoding
from messaging.gateway.gateway import Gateway
from messaging.gateway.transports.connection import Connection, Flusher
from rookery.v1.session_pb2 import Authenticate, ClientFrame, Position, Send, ServerFrame, Text
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore, Family, User
from shared.accounts.tokens import TokenIssuer, TokenVerifier, digest
from shared.background import open_background
from shared.backplane import Backplane
from shared.backplane.sqlite.log import open_embedded_log
from shared.configuration import LiveConfiguration
from shared.configuration.live import Live
from shared.contract.errors import Refusal
from shared.contract.ids import SnowflakeGenerator
from shared.coordination.ownership import GatewayAddress, LocalDirectory

PATIENCE = 20.0
"""Seconds after which a frame that does not come is taken for lost."""

REPLAY_SECONDS = 60.0
"""What was said before a session is replayed to it, however long it took to begin: the most that can be set."""

PARTITIONS = 4


class ScriptedHistory:
    """An archive that has the messages it is told to have."""

    def __init__(self) -> None:
        self.messages: set[int] = set()
        self.refusal: Refusal | None = None

    async def has_message(self, user_id: int, chat_id: str, message_id: int) -> bool | Refusal:
        await trio.lowlevel.checkpoint()
        return self.refusal or message_id in self.messages


@dataclass
class Client:
    """The far end of a session."""

    to_server: trio.MemorySendChannel[ClientFrame | Refusal]
    from_server: trio.MemoryReceiveChannel[ServerFrame]
    frames: list[ServerFrame] = field(default_factory=list)

    async def send(self, frame: ClientFrame | Refusal) -> None:
        await self.to_server.send(frame)

    async def send_text(self, client_message_id: str, recipient_id: int, body: str = "hi") -> None:
        text = Send(client_message_id=client_message_id, recipient_id=recipient_id, text=Text(body=body))
        await self.send(ClientFrame(send=text))

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
        """The next frame of the kind; those before it are in `frames`."""
        while (frame := await self.next()).WhichOneof("frame") != kind:
            pass
        return frame

    async def ended(self) -> bool:
        """Whether the server has closed, and nothing more comes."""
        with trio.fail_after(PATIENCE):
            async for frame in self.from_server:
                self.frames.append(frame)
        return True


class MemoryTransport:
    """A transport of two channels; what it sends always goes at once."""

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

    def send(self, frames: list[str | bytes]) -> None:
        for frame in frames:
            self._to_client.send_nowait(ServerFrame.FromString(cast(bytes, frame)))


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
        self.flusher = Flusher()
        nursery.start_soon(self.flusher.run)
        self._numbers = itertools.count(1)

    async def start_gateway(self, configuration: LiveConfiguration | None = None) -> Gateway:
        """A gateway that runs until the platform ends or its `stop` is cancelled."""
        number = next(self._numbers)
        gateway = Gateway(
            address=GatewayAddress(f"ws://gateway-{number}/session", f"gateway-{number}:1"),
            backplane=self.backplane,
            accounts=self.accounts,
            verifier=TokenVerifier(self.accounts),
            history=self.history,
            directory=self.directory,
            live=Live.fixed(configuration or LiveConfiguration(replay_seconds=REPLAY_SECONDS)),
            ids=SnowflakeGenerator(number),
        )
        await self.nursery.start(gateway.log_consumer.run)
        self.nursery.start_soon(gateway.tick_for_ever)
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
        """A connection that says nothing by itself."""
        to_server, from_client = trio.open_memory_channel[ClientFrame | Refusal](0)
        to_client, from_server = trio.open_memory_channel[ServerFrame](10_000)

        async def serve() -> None:
            session = gateway.open_session(ProtobufEncoding())
            try:
                await Connection(gateway, session, MemoryTransport(from_client, to_client), self.flusher).run()
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
        open_embedded_log(folder / "log.sqlite3", partitions=PARTITIONS, retention_hours=1) as log,
        open_sqlite_accounts(folder / "accounts.sqlite3") as accounts,
        open_background() as nursery,
    ):
        platform = Platform(folder, nursery, log, accounts)
        for user_id in range(1, 10):
            await platform.add_user(user_id)
        yield platform
