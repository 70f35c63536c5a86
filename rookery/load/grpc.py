"""Sessions over gRPC: a connection, a reader and a writer for each, as in native apps."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from rookery.client.trust import client_tls
from rookery.load.sessions import CONNECT_DEADLINE, LoadError, LoadUser, SessionObserver, for_each
from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import Authenticate, ClientFrame, Follow, Send, ServerFrame, Text
from shared.background import open_background
from shared.contract.addresses import GrpcAddress
from shared.rpc import ClientStream, RpcError, open_channel, open_stream

Stream = ClientStream[ServerFrame, ClientFrame]


@asynccontextmanager
async def open_grpc_sessions(
    users: Sequence[LoadUser], run_id: str, size: int, ca_file: Path | None = None
) -> AsyncIterator["GrpcSessions"]:
    """Open a session for each user. Raises LoadError or RpcError."""
    tls = client_tls(ca_file, "h2")
    async with open_background() as nursery:
        streams = await for_each(lambda user: nursery.start(_hold_session, user, tls), users)
        yield GrpcSessions(streams, users, run_id, size)


async def _hold_session(user: LoadUser, tls: ssl.SSLContext, *, task_status: trio.TaskStatus[Stream]) -> None:
    """Keep a session open until cancelled; started after its welcome."""
    address = GrpcAddress.parse(user.gateway.grpc)
    async with (
        open_channel(address.host, address.port, tls=tls if address.is_secure else None) as channel,
        open_stream(SessionServiceStub(channel).Connect) as stream,
    ):
        with trio.fail_after(CONNECT_DEADLINE):
            await stream.send(ClientFrame(authenticate=Authenticate(access_token=user.token, client_name="load")))
            first = await stream.receive()
            if first is None or not first.HasField("welcome"):
                raise LoadError(f"no welcome, but {first}")
            if user.follows:
                await _follow(stream, user)
        task_status.started(stream)
        await trio.sleep_forever()


async def _follow(stream: Stream, user: LoadUser) -> None:
    """Follow the user's channel. Replayed events may come before the answer: they are not counted."""
    is_open = user.follows == "open"
    await stream.send(ClientFrame(follow=Follow(chat_ids=[user.chat_id], open_chat_ids=[user.chat_id] * is_open)))
    while (frame := await stream.receive()) is None or not frame.HasField("accepted"):
        if frame is None or frame.HasField("refused"):
            raise LoadError(f"a session does not follow {user.chat_id}: {frame}")


class GrpcSessions:
    """The sessions of a run."""

    def __init__(self, streams: Sequence[Stream], users: Sequence[LoadUser], run_id: str, size: int) -> None:
        self._streams = streams
        self._run_id = run_id
        text = Text(body="x" * size)
        sends = (
            Send(chat_id=user.chat_id, text=text) if user.chat_id else Send(recipient_id=user.peer_id, text=text)
            for user in users
        )
        self._frames = [ClientFrame(send=send, first_sent_ms_ago=0) for send in sends]
        self._outgoing: list[list[bytes]] = [[] for _ in users]
        self._wake = [trio.Event() for _ in users]

    def send(self, user: int, number: int) -> None:
        """Send the message to the user's partner or group."""
        frame = self._frames[user]
        frame.send.client_message_id = f"{self._run_id}{number}"
        self._outgoing[user].append(frame.SerializeToString())
        self._wake[user].set()

    async def listen(self, observer: SessionObserver) -> None:
        """Report received frames, until cancelled."""
        async with trio.open_nursery() as nursery:
            for user in range(len(self._streams)):
                nursery.start_soon(self._read, user, observer)
                nursery.start_soon(self._write, user)

    async def _read(self, user: int, observer: SessionObserver) -> None:
        stream = self._streams[user]
        try:
            while (frame := await stream.receive()) is not None:
                _report(user, frame, trio.current_time(), observer)
            observer.failed("ended by the server")
        except RpcError as error:
            observer.failed(error.status.name)

    async def _write(self, user: int) -> None:
        try:
            while True:
                await self._wake[user].wait()
                self._wake[user] = trio.Event()
                frames, self._outgoing[user] = self._outgoing[user], []
                await self._streams[user].send_encoded(frames)
        except RpcError:
            pass  # the reader gets and reports the same error


def _report(user: int, frame: ServerFrame, now: float, observer: SessionObserver) -> None:
    match frame.WhichOneof("frame"):
        case "event":
            observer.delivered(frame.event.message.client_message_id, now)
        case "channel_head":
            observer.shown()
        case "accepted":
            observer.accepted(user, frame.accepted.client_id, now)
        case "refused":
            observer.refused(user, frame.refused.client_id, frame.refused.code)
        case "goodbye":
            observer.failed(f"goodbye: {frame.goodbye.code}")
        case _:
            pass
