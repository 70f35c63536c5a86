"""Clients that only get in the way: some connect and leave, some are written to and never read."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from rookery.client import Api, Client, Refused, RookeryError, SessionStream
from rookery.client.keeper import Transport
from rookery.client.live import CONNECT
from rookery.v1 import session_pb2 as pb
from rookery.verify.plan import TRANSPORTS

CHURN_AT_ONCE = 8
"""Sessions that are opened side by side."""

SESSION_DEADLINE = 10.0
"""Seconds to get a session, when there is one."""

HOLD_SECONDS = 20.0
"""How long a session is held that nobody reads: if its gateway was killed meanwhile, nothing else would tell."""

FLOOD_BYTES = 8_000
"""Of each text to a client that does not read."""

FLOOD_RATE = 25.0
"""Such texts a second: 200 kB, which fills what a system keeps for a socket within seconds."""


class Churn:
    """Sessions of the clients' users, opened and left again: half of them in good order, half without a word."""

    def __init__(self, clients: Sequence[Client], count: int) -> None:
        self.opened = 0
        self.failed = 0
        """How many were not welcomed, as while a gateway is replaced."""
        self._clients = clients
        self._numbers = iter(range(count))

    async def run(self) -> None:
        """Return once all were opened and left."""
        async with trio.open_nursery() as nursery:
            for _ in range(CHURN_AT_ONCE):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        for number in self._numbers:
            client = self._clients[number % len(self._clients)]
            transport = TRANSPORTS[number // len(self._clients) % 2]
            try:
                with trio.CancelScope() as scope:
                    async with open_session(client.api, transport):
                        self.opened += 1
                        if number % 2:
                            scope.cancel()
                            await trio.lowlevel.checkpoint()
            except RookeryError:
                self.failed += 1


class SlowClient:
    """A user who is written to all the time, and whose session nobody reads."""

    def __init__(self, api: Api, writer: Client, transport: Transport, *, reads: bool) -> None:
        """`api` is the user's, who is signed in. `reads` makes it a good client after all."""
        self._api = api
        self._writer = writer
        self._transport: Transport = transport
        self._reads = reads

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hold_sessions)
            await self._flood()

    async def _hold_sessions(self) -> None:
        while True:
            try:
                with trio.move_on_after(HOLD_SECONDS):
                    async with open_session(self._api, self._transport) as stream:
                        while self._reads and await stream.receive():
                            pass
                        await trio.sleep_forever()
            except RookeryError:
                await trio.sleep(1)

    async def _flood(self) -> None:
        text = "x" * FLOOD_BYTES
        while True:
            with suppress(Refused):  # of enough that wait already
                self._writer.submit(self._api.me.user_id, text)
            await trio.sleep(1 / FLOOD_RATE)


@asynccontextmanager
async def open_session(api: Api, transport: Transport) -> AsyncIterator[SessionStream]:
    """A session that has been welcomed. Raises RookeryError."""
    with trio.move_on_after(SESSION_DEADLINE) as scope:
        address = await api.gateway()
        token = await api.access_token()
        async with CONNECT[transport](address.websocket if transport == "websocket" else address.grpc) as stream:
            await stream.send(pb.ClientFrame(authenticate=pb.Authenticate(access_token=token, client_name="verify")))
            frame = await stream.receive()
            if frame is None or not frame.HasField("welcome"):
                raise RookeryError(f"no welcome, but {frame}")
            scope.deadline = float("inf")
            yield stream
    if scope.cancelled_caught:
        raise RookeryError(f"no session within {SESSION_DEADLINE:g} s")
