"""The background load of a verification: sessions that open and close, and clients that never read."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from rookery.client import Api, Client, Refused, RookeryError, SessionStream
from rookery.client.live import CONNECT
from rookery.client.reconnector import Transport
from rookery.v1 import session_pb2 as pb
from rookery.verify.plan import TRANSPORTS

CHURN_AT_ONCE = 8
"""Sessions opened concurrently."""

SESSION_DEADLINE = 10.0
"""Seconds to open a session."""

FAILURE_SECONDS = 0.25
"""Seconds after a session that could not be opened."""

HOLD_SECONDS = 20.0
"""Seconds that an unread session is held: it does not notice when its gateway is killed."""

FLOOD_BYTES = 8_000
"""Bytes of each text to a client that does not read."""

FLOOD_RATE = 25.0
"""Such texts a second: 200 kB, which fill the buffers of a socket within seconds."""


class Churn:
    """Sessions of the clients' users, opened and closed: half of them with a proper close, half without."""

    def __init__(self, clients: Sequence[Client], count: int, ca_file: Path | None) -> None:
        self.opened = 0
        self.failed = 0
        """Sessions without a welcome, for instance while a gateway is replaced."""
        self._clients = clients
        self._numbers = iter(range(count))
        self._ca_file = ca_file

    async def run(self) -> None:
        """Open and close all sessions, then return."""
        async with trio.open_nursery() as nursery:
            for _ in range(CHURN_AT_ONCE):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        for number in self._numbers:
            client = self._clients[number % len(self._clients)]
            transport = TRANSPORTS[number // len(self._clients) % 2]
            try:
                with trio.CancelScope() as scope:
                    async with open_session(client.api, transport, self._ca_file):
                        self.opened += 1
                        if number % 2:
                            scope.cancel()
                            await trio.lowlevel.checkpoint()
            except RookeryError:
                self.failed += 1
                await trio.sleep(FAILURE_SECONDS)


class SlowClient:
    """A user that receives messages all the time, and a session of the user that is never read."""

    def __init__(self, api: Api, writer: Client, transport: Transport, *, reads: bool, ca_file: Path | None) -> None:
        """`api` is signed in as the user. `reads` makes it a client that does read, for comparison."""
        self._api = api
        self._writer = writer
        self._transport: Transport = transport
        self._reads = reads
        self._ca_file = ca_file

    async def run(self) -> None:
        """Hold the session and send to it, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hold_sessions)
            await self._flood()

    async def _hold_sessions(self) -> None:
        while True:
            try:
                with trio.move_on_after(HOLD_SECONDS):
                    async with open_session(self._api, self._transport, self._ca_file) as stream:
                        while self._reads and await stream.receive():
                            pass
                        await trio.sleep_forever()
            except RookeryError:
                await trio.sleep(1)

    async def _flood(self) -> None:
        text = "x" * FLOOD_BYTES
        while True:
            with suppress(Refused):  # while too many messages wait for an answer
                self._writer.submit(self._api.me.user_id, text)
            await trio.sleep(1 / FLOOD_RATE)


@asynccontextmanager
async def open_session(api: Api, transport: Transport, ca_file: Path | None) -> AsyncIterator[SessionStream]:
    """Open a session up to its welcome. Raises RookeryError. `ca_file` is that of `open_client`."""
    with trio.move_on_after(SESSION_DEADLINE) as scope:
        address = await api.gateway()
        token = await api.access_token()
        endpoint = address.websocket if transport == "websocket" else address.grpc
        async with CONNECT[transport](endpoint, ca_file) as stream:
            await stream.send(pb.ClientFrame(authenticate=pb.Authenticate(access_token=token, client_name="verify")))
            frame = await stream.receive()
            if frame is None or not frame.HasField("welcome"):
                raise RookeryError(f"no welcome, but {frame}")
            scope.deadline = float("inf")
            yield stream
    if scope.cancelled_caught:
        raise RookeryError(f"no session within {SESSION_DEADLINE:g} s")
