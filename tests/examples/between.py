"""A proxy gateway between the examples and the real one: it forwards frames, and can behave as gateways rarely do."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from rookery.client.connection import SessionStream, connect_grpc
from rookery.v1.session_grpc import SessionServiceServicer
from rookery.v1.session_pb2 import ClientFrame, Goodbye, ServerFrame
from shared.rpc import Limits, ServerStream, serve_rpc, stream_handler
from shared.rpc.server.server import Listener

LIMITS = Limits(drain_timeout=0.1, close_timeout=0.1)


class Connection:
    """A client's connection, which forwards all frames. Tests override its methods."""

    def __init__(self, number: int, received: list[ClientFrame]) -> None:
        self.number = number
        """Counts this client's connections, from 1."""
        self.received = received
        """All frames of this client, over all its connections."""
        self.frame = 0
        """The number of the newest frame from the client."""
        self.sequence = 0
        self._forwarded: list[int] = []
        self._seen: set[str] = set()
        self.client: ServerStream[ClientFrame, ServerFrame]
        self.gateway: SessionStream

    async def from_client(self, frame: ClientFrame) -> None:
        await self.forward(frame)

    async def from_gateway(self, frame: ServerFrame) -> None:
        await self.send(frame)

    async def forward(self, frame: ClientFrame) -> None:
        """Send the newest frame from the client to the gateway."""
        self._forwarded.append(self.frame)
        await self.gateway.send(frame)

    def renumber(self, frame: ServerFrame) -> None:
        """Replace the number in the gateway's answer by the client's, as not every frame is forwarded."""
        answer = frame.accepted if frame.HasField("accepted") else frame.refused
        if answer.frame:
            answer.frame = self._forwarded[answer.frame - 1]

    async def send(self, frame: ServerFrame) -> None:
        """Send a frame to the client, with the next sequence number."""
        self.sequence += 1
        frame.sequence = self.sequence
        await self.client.send(frame)

    def is_first(self, key: str) -> bool:
        """Whether this is the connection's first call with this key."""
        is_first = key not in self._seen
        self._seen.add(key)
        return is_first

    async def end(self, code: str) -> None:
        await self.send(ServerFrame(goodbye=Goodbye(code=code, message=f"Goodbye: {code}.")))


MakeConnection = Callable[[int, list[ClientFrame]], Connection]


class Between(SessionServiceServicer):
    """The session service. Clients are distinguished by their client name."""

    def __init__(self, gateway: str, make_connection: MakeConnection) -> None:
        self.received: dict[str, list[ClientFrame]] = defaultdict(list)
        self._gateway = gateway
        self._make_connection = make_connection

    @stream_handler
    async def Connect(self, stream: ServerStream[ClientFrame, ServerFrame]) -> None:
        first = await stream.receive()
        assert first is not None
        received = self.received[first.authenticate.client_name.lower()]
        number = 1 + sum(frame.HasField("authenticate") for frame in received)
        connection = self._make_connection(number, received)
        received.append(first)
        async with connect_grpc(self._gateway) as gateway, trio.open_nursery() as nursery:
            connection.client, connection.gateway = stream, gateway
            nursery.start_soon(_receive_client, connection)
            connection.frame = 1
            await connection.from_client(first)
            while (frame := await gateway.receive()) is not None:
                connection.renumber(frame)
                await connection.from_gateway(frame)
            nursery.cancel_scope.cancel()


async def _receive_client(connection: Connection) -> None:
    while (frame := await connection.client.receive()) is not None:
        connection.received.append(frame)
        connection.frame += 1
        await connection.from_client(frame)


@asynccontextmanager
async def open_between(
    listener: Listener, gateway: str, make_connection: MakeConnection = Connection
) -> AsyncIterator[Between]:
    """Serve in front of the gateway at this address."""
    between = Between(gateway, make_connection)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_rpc, [between], [listener], limits=LIMITS))
        yield between
        nursery.cancel_scope.cancel()
