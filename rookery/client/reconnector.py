"""Keeps a session live over one connection after the other."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal

import trio

from rookery.client.backoff import Backoff
from rookery.client.connection import SessionStream
from rookery.client.core import ClientEvent, Connected, Disconnected, Reconnect, RenewToken, Session, Stop
from rookery.client.errors import Refused, RookeryError, SignedOut, Unreachable
from rookery.client.events import EventQueue
from rookery.client.http import Api, GatewayEndpoints
from rookery.v1 import session_pb2 as pb
from shared.contract.ids import wall_clock_ms
from shared.contract.wire import to_json

Connect = Callable[[str], AbstractAsyncContextManager[SessionStream]]
"""Opens a connection to a gateway at its `host:port` or URL, depending on the transport."""

Transport = Literal["grpc", "websocket"]
"""The transport of the session, which selects the gateway's endpoint."""

SIZES_OF_FRAMES: Mapping[Transport, Callable[[pb.ClientFrame], int]] = {
    "grpc": pb.ClientFrame.ByteSize,
    "websocket": lambda frame: len(to_json(frame)),
}
"""The function that returns the bytes of a frame, as each transport encodes it."""

WELCOME_DEADLINE = 20.0
"""Seconds for the server's welcome after the handshake: a gateway that runs welcomes the client or sends Reconnect
within 15, also while it waits for its partition."""

PONG_DEADLINE = 10.0
"""Seconds for the server's answer to a ping."""

LONGEST_WELCOME_DEADLINE = 40.0
"""Seconds. An attempt without a welcome doubles the deadline of the next, up to this: a server that is too slow for the
first becomes slower with clients that start again and again."""

WHOLE_PAUSE = 1.0
"""Seconds that the BFF waited for a gateway, from which on its wait is the whole pause, however long the outage is:
what comes after it only delays a client whose gateway is back."""

CHECK_SECONDS = 5.0
"""The interval of the checks for a silent server. It answers a command sooner, if only with a refusal."""

DEFAULT_HEARTBEAT = 30.0
"""Seconds, for a server whose welcome has no interval."""


class Reconnector:
    """Connects, reads, writes and watches for one client's `Session`."""

    def __init__(
        self,
        api: Api,
        client_name: str,
        transport: Transport,
        connect: Connect,
        queue: EventQueue,
        note: Callable[[ClientEvent | Refused], None],
    ) -> None:
        """`note` is called with each event of a connection, before the reader of the queue gets it, and with the
        refusal that ends the session."""
        self.session = Session(wall_clock_ms(), SIZES_OF_FRAMES[transport])
        self.ready = trio.Event()
        """Set by the first welcome, or when the session has ended."""
        self.ended: Refused | None = None
        """The refusal for which no connection is opened any more."""
        self.reason = "no answer"
        """Why the newest connection ended, or could not be opened."""
        self._api = api
        self._client_name = client_name
        self._transport = transport
        self._connect = connect
        self._queue = queue
        self._note = note
        self._wake = trio.Event()
        self._welcomed = trio.Event()
        self._received = 0
        self._backoff = Backoff(trio.current_time())
        self._welcome_deadline = WELCOME_DEADLINE
        self._unreachable = ""
        """The endpoint of the newest connection, until there is an answer."""
        self._waited = 0.0
        """Seconds that the BFF took to name an endpoint after an unreachable one: a part of the pause, if the
        connection to it fails."""

    def wake(self) -> None:
        """Send the frames that wait."""
        self._wake.set()

    async def run(self) -> None:
        """Hold one connection after the other, until cancelled, signed out or refused for good."""
        reconnect = Reconnect("")
        stale_token = ""
        while True:
            self._waited = 0.0
            try:
                token = await self._api.access_token(older_than=stale_token)
                endpoint = await self._find_endpoint(reconnect.moved)
                left = await self._serve_connection(endpoint, token)
                if isinstance(left, Stop):
                    self._end(left.refused)
                    return
                reconnect = left
                stale_token = token if reconnect.token_rejected else ""
            except SignedOut as error:
                self._end(error)
                return
            except RookeryError as error:
                reconnect = Reconnect(str(error), after_ms=error.retry_after_ms if isinstance(error, Refused) else 0)
            self.reason = reconnect.reason
            after, moved = reconnect.after_ms / 1000, reconnect.moved is not None
            pause = self._backoff.pause(trio.current_time(), after, moved=moved)
            if not after:
                pause = 0.0 if self._waited >= WHOLE_PAUSE else max(pause - self._waited, 0.0)
            await trio.sleep(pause)

    async def _find_endpoint(self, moved: pb.Moved | None) -> str:
        """Return the endpoint of the gateway to which the client was moved, or else of the one that the BFF names."""
        asked = trio.current_time()
        endpoint = self._endpoint(moved) or self._endpoint(await self._api.gateway(self._unreachable))
        if self._unreachable:  # else it waits for no other
            self._waited = trio.current_time() - asked
        self._unreachable = endpoint
        return endpoint

    def _endpoint(self, address: GatewayEndpoints | pb.Moved | None) -> str:
        """Return the endpoint for the transport; empty without an address."""
        if address is None:
            return ""
        return address.websocket if self._transport == "websocket" else address.grpc

    async def _serve_connection(self, endpoint: str, token: str) -> Reconnect | Stop:
        try:
            async with self._connect(endpoint) as stream:
                await stream.send(self.session.begin(token, self._client_name))
                left = await self._exchange_frames(stream)
        finally:
            was_connected = self.session.welcome is not None
            self.session.end()
        if was_connected:
            reason = left.refused.message if isinstance(left, Stop) else left.reason
            self._queue.put(Disconnected(reason), self.session.newest_ms)
        return left

    async def _exchange_frames(self, stream: SessionStream) -> Reconnect | Stop:
        """Read, write and watch the stream until one of the three returns."""
        self._welcomed = trio.Event()
        results: list[Reconnect | Stop] = []
        async with trio.open_nursery() as nursery:

            async def run(work: Callable[[SessionStream, trio.Nursery], Awaitable[Reconnect | Stop]]) -> None:
                try:
                    results.append(await work(stream, nursery))
                except Unreachable as error:
                    results.append(Reconnect(str(error)))
                nursery.cancel_scope.cancel()

            for work in (self._read, self._write, self._watch):
                nursery.start_soon(run, work)
        return results[0]

    async def _read(self, stream: SessionStream, nursery: trio.Nursery) -> Reconnect | Stop:
        while (frame := await stream.receive()) is not None:
            self._received += 1
            self._unreachable = ""
            for item in self.session.receive(frame):
                match item:
                    case Reconnect() | Stop():
                        return item
                    case RenewToken():
                        nursery.start_soon(self._renew)
                    case _:
                        self._publish(item)
                        await trio.lowlevel.checkpoint()  # a long replay must not starve the reader of the events
            if self.session.outbox.wants_to_send:
                self._wake.set()
        return Reconnect("the server closed the connection")

    def _publish(self, event: ClientEvent) -> None:
        if isinstance(event, Connected):
            self._waited = 0.0
            self._backoff.connected()
            self._welcome_deadline = WELCOME_DEADLINE
            self._welcomed.set()
            self.ready.set()
        self._note(event)
        if not self._queue.put(event, self.session.newest_ms):
            self.session.forget(event)
            self._note(pb.Gap(at_ms=self.session.server_ms()))

    async def _write(self, stream: SessionStream, _: trio.Nursery) -> Reconnect:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            for frame in self.session.outgoing():
                await stream.send(frame)

    async def _watch(self, _: SessionStream, __: trio.Nursery) -> Reconnect:
        """Return when the server is silent and does not answer a ping: sooner if a command waits for its answer."""
        deadline = self._welcome_deadline
        with trio.move_on_after(deadline):
            await self._welcomed.wait()
        if self.session.welcome is None:
            self._welcome_deadline = min(2 * deadline, LONGEST_WELCOME_DEADLINE)
            return Reconnect(f"no welcome within {deadline:g} s")
        received, silent = self._received, 0.0
        while (welcome := self.session.welcome) is not None:
            await trio.sleep(CHECK_SECONDS)
            silent = silent + CHECK_SECONDS if self._received == received else 0.0
            received = self._received
            heartbeat = welcome.heartbeat_interval_ms / 1000 or DEFAULT_HEARTBEAT
            if not silent or (silent < heartbeat and not self.session.outbox.awaits_answer):
                continue
            self.session.notify(pb.ClientFrame(ping=pb.Ping()))
            self._wake.set()
            await trio.sleep(PONG_DEADLINE)
            if self._received == received:
                break
        return Reconnect(f"no sign of life within {PONG_DEADLINE:g} s")

    async def _renew(self) -> None:
        """Send a fresh token. If that fails, the session ends with its token, and the next connection needs another."""
        try:
            token = await self._api.access_token(older_than=self._api.newest_token)
        except RookeryError:
            return
        self.session.notify(pb.ClientFrame(renew=pb.Renew(access_token=token)))
        self._wake.set()

    def _end(self, error: Refused) -> None:
        self.ended = error
        self.session.outbox.fail(error)
        self._note(error)
        self._queue.fail(error)
        self.ready.set()
