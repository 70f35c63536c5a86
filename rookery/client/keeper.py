"""Keeps a session connected: one connection after the other, each read, written and watched."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal

import trio

from rookery.client.backoff import Backoff
from rookery.client.connection import SessionStream
from rookery.client.core import ClientEvent, Connected, Disconnected, Leave, RenewToken, Session
from rookery.client.errors import Refused, RookeryError, SignedOut, Unreachable
from rookery.client.events import EventQueue
from rookery.client.http import Api, GatewayAddress
from rookery.v1 import session_pb2 as pb

Connect = Callable[[str], AbstractAsyncContextManager[SessionStream]]
"""Opens a connection to a gateway, by its `host:port` or its URL, as the transport has them."""

Transport = Literal["grpc", "websocket"]
"""What carries the session. Which address of a gateway is used goes by it."""

WELCOME_DEADLINE = 10.0
"""Seconds for a server to welcome, or to answer a ping."""

LOOK_SECONDS = 5.0
"""How often to look whether the server is silent. It answers sooner, if only that it can't do what was asked."""

DEFAULT_HEARTBEAT = 30.0
"""Seconds, for a server that gives none."""


class Keeper:
    """The connection of one client, and what it does for `Session`."""

    def __init__(self, api: Api, client_name: str, transport: Transport, connect: Connect, queue: EventQueue) -> None:
        self.session = Session()
        self.ready = trio.Event()
        """Set with the first welcome, or when there will be none."""
        self.ended: SignedOut | None = None
        self._api = api
        self._client_name = client_name
        self._transport = transport
        self._connect = connect
        self._queue = queue
        self._wake = trio.Event()
        self._heard = 0
        self._backoff = Backoff(trio.current_time())

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    async def run(self) -> None:
        """One connection after the other, until the client is closed or can't sign in."""
        leave = Leave("")
        stale_token = ""
        while True:
            try:
                token = await self._api.access_token(older_than=stale_token)
                endpoint = self._endpoint(leave.moved) or self._endpoint(await self._api.gateway())
                leave = await self._serve_connection(endpoint, token)
                stale_token = token if leave.signed_out else ""
            except SignedOut as error:
                self._end(error)
                return
            except RookeryError as error:
                leave = Leave(str(error), after_ms=error.retry_after_ms if isinstance(error, Refused) else 0)
            pause = self._backoff.pause(trio.current_time(), leave.after_ms / 1000, moved=leave.moved is not None)
            await trio.sleep(pause)

    def _endpoint(self, address: GatewayAddress | pb.Moved | None) -> str:
        """Of the transport; empty if it is not known."""
        if address is None:
            return ""
        return address.websocket if self._transport == "websocket" else address.grpc

    async def _serve_connection(self, endpoint: str, token: str) -> Leave:
        try:
            async with self._connect(endpoint) as stream:
                await stream.send(self.session.begin(token, self._client_name))
                leave = await self._converse(stream)
        finally:
            was_connected = self.session.welcome is not None
            self.session.end()
        if was_connected:
            self._queue.put(Disconnected(leave.reason), self.session.newest_ms)
        return leave

    async def _converse(self, stream: SessionStream) -> Leave:
        """Read, write and watch until one of them has a reason to leave."""
        leaves: list[Leave] = []
        async with trio.open_nursery() as nursery:

            async def run(work: Callable[[SessionStream, trio.Nursery], Awaitable[Leave]]) -> None:
                try:
                    leaves.append(await work(stream, nursery))
                except Unreachable as error:
                    leaves.append(Leave(str(error)))
                nursery.cancel_scope.cancel()

            for work in (self._read, self._write, self._watch):
                nursery.start_soon(run, work)
        return leaves[0]

    async def _read(self, stream: SessionStream, nursery: trio.Nursery) -> Leave:
        while (frame := await stream.receive()) is not None:
            self._heard += 1
            for item in self.session.receive(frame):
                match item:
                    case Leave():
                        return item
                    case RenewToken():
                        nursery.start_soon(self._renew)
                    case _:
                        self._tell(item)
                        await trio.lowlevel.checkpoint()  # a long replay must not starve who reads the events
            if self.session.outbox.wants_to_send:
                self._wake.set()
        return Leave("the server closed the connection")

    def _tell(self, event: ClientEvent) -> None:
        if isinstance(event, Connected):
            self._backoff.connected()
            self.ready.set()
        self._queue.put(event, self.session.newest_ms)

    async def _write(self, stream: SessionStream, _: trio.Nursery) -> Leave:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            for frame in self.session.outgoing():
                await stream.send(frame)

    async def _watch(self, _: SessionStream, __: trio.Nursery) -> Leave:
        """Find out whether the server is gone without a word: soon, if it owes an answer."""
        await trio.sleep(WELCOME_DEADLINE)
        heard, silent = self._heard, 0.0
        while (welcome := self.session.welcome) is not None:
            await trio.sleep(LOOK_SECONDS)
            silent = silent + LOOK_SECONDS if self._heard == heard else 0.0
            heard = self._heard
            heartbeat = welcome.heartbeat_interval_ms / 1000 or DEFAULT_HEARTBEAT
            if not silent or (silent < heartbeat and not self.session.outbox.awaits_answer):
                continue
            self.session.say(pb.ClientFrame(ping=pb.Ping()))
            self._wake.set()
            await trio.sleep(WELCOME_DEADLINE)
            if self._heard == heard:
                break
        return Leave(f"no sign of life within {WELCOME_DEADLINE:g} s")

    async def _renew(self) -> None:
        """Give the session a fresh token. If that fails, the session ends with the old one, and another is tried."""
        try:
            token = await self._api.access_token(older_than=self._api.newest_token)
        except RookeryError:
            return
        self.session.say(pb.ClientFrame(renew=pb.Renew(access_token=token)))
        self._wake.set()

    def _end(self, error: SignedOut) -> None:
        self.ended = error
        self.session.outbox.fail(error)
        self._queue.fail(error)
        self.ready.set()
