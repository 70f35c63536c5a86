"""The public client: a live session and its commands."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import trio

from rookery.client.catch_up import missed
from rookery.client.connection import connect_grpc
from rookery.client.core import ClientEvent
from rookery.client.errors import Refused, Unreachable
from rookery.client.events import EventQueue
from rookery.client.http import Api, User, open_api
from rookery.client.outbox import Outbox
from rookery.client.reconnector import Connect, Reconnector, Transport
from rookery.client.websocket import connect_websocket
from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import HistoryMessage
from shared.background import open_background

OPEN_DEADLINE = 15.0
"""Seconds that `open_client` tries to open a session."""

ANSWER_DEADLINE = 30.0
"""Seconds that `send` waits, over reconnects: long enough for another gateway to take over."""


class Client:
    """A live session; `open_client` makes it. Many tasks may use it at once; `events` has one reader."""

    def __init__(self, api: Api, client_name: str, transport: Transport, connect: Connect) -> None:
        self.api = api
        self._queue = EventQueue()
        self._reconnector = Reconnector(api, client_name, transport, connect, self._queue)
        self._session = self._reconnector.session

    @property
    def me(self) -> User:
        """The signed-in user."""
        return self.api.me

    @property
    def is_connected(self) -> bool:
        return self._session.welcome is not None

    async def send(
        self,
        to: int | str,
        text: str,
        *,
        reply_to: int = 0,
        client_message_id: str = "",
        first_sent_ms: int | None = None,
        deadline: float = ANSWER_DEADLINE,
    ) -> pb.Accepted:
        """Send a text `to` a user (id as a number) or a chat (id as a string). Return once the message can't be lost.

        Raises Refused; Unreachable without an answer within `deadline` seconds; SignedOut. After the first two, a retry
        with the exception's `client_message_id` never makes a second message, within 3 days. `first_sent_ms` is the
        time of the first call with this id, in milliseconds since 1970. Without it, the server looks for the message in
        its history; so pass the current time with an id of your own in a first call.
        """
        submission = self.submit(
            to, text, reply_to=reply_to, client_message_id=client_message_id, first_sent_ms=first_sent_ms
        )
        return await submission.answer(deadline)

    def submit(
        self,
        to: int | str,
        text: str,
        *,
        reply_to: int = 0,
        client_message_id: str = "",
        first_sent_ms: int | None = None,
    ) -> "Submission":
        """Send like `send`, but return at once. Messages are sent in the order of their submission.

        Raises SignedOut; Refused if 1,000 commands wait for an answer.
        """
        if client_message_id and first_sent_ms is None:
            first_sent_ms = 0  # long ago, perhaps
        message_id = client_message_id or secrets.token_hex(16)
        send = pb.Send(client_message_id=message_id, text=pb.Text(body=text), reply_to=reply_to)
        if isinstance(to, int):
            send.recipient_id = to
        else:
            send.chat_id = to
        return Submission(self._submit(pb.ClientFrame(send=send), first_sent_ms), message_id)

    async def react(self, chat_id: str, message_id: int, emoji: str, *, deadline: float = ANSWER_DEADLINE) -> None:
        """Set a reaction; return once it is published. Setting it twice has no effect. Raises like `send`."""
        react = pb.React(chat_id=chat_id, message_id=message_id, emoji=emoji)
        await self._submit(pb.ClientFrame(react=react)).wait(deadline)

    async def unreact(self, chat_id: str, message_id: int, emoji: str, *, deadline: float = ANSWER_DEADLINE) -> None:
        """Remove a reaction, like `react`."""
        unreact = pb.Unreact(chat_id=chat_id, message_id=message_id, emoji=emoji)
        await self._submit(pb.ClientFrame(unreact=unreact)).wait(deadline)

    def mark(self, chat_id: str, *, delivered_up_to: int = 0, read_up_to: int = 0) -> None:
        """Set the user's marks in a chat. Return at once; the marks are sent until the server has them."""
        receipt = pb.Receipt(chat_id=chat_id, delivered_up_to=delivered_up_to, read_up_to=read_up_to)
        self._session.outbox.submit(pb.ClientFrame(receipt=receipt), lambda outcome: None)
        self._reconnector.wake()

    def typing(self, chat_id: str) -> None:
        """Signal that the user is typing, if there is a session. Repeat it every 4 seconds."""
        self._session.notify(pb.ClientFrame(typing=pb.Typing(chat_id=chat_id)))
        self._reconnector.wake()

    def events(self) -> AsyncIterator[ClientEvent]:
        """Iterate over the events of the user's chats since the opening: each once, in order, over all reconnects.

        A reader that falls 10,000 events behind gets a Gap in place of the next ones. After a Gap, read `missed` in
        another task. Ends only by raising SignedOut.
        """
        return self._queue

    def missed(self, gap: pb.Gap) -> AsyncGenerator[HistoryMessage, None]:
        """Iterate over the messages that a Gap of `events` reports as missing, and the messages of the 5 minutes before
        it, in order within a chat. Merge them by `message_id` with the messages of `events`; either may come first.

        Reads at once, and again for 3 minutes, as history may lag; each message is yielded once. A message that its
        sender sends again after more than 5 minutes may be left out: a chat that is loaded anew has it. Reactions to
        older messages and marks are not included. Raises SignedOut, and Refused if a retry makes no sense.
        """
        return missed(self.api, gap.since_ms)

    def _submit(self, frame: pb.ClientFrame, first_sent_ms: int | None = None) -> "_PendingCommand":
        if self._reconnector.ended is not None:
            raise self._reconnector.ended
        pending = _PendingCommand(self._session.outbox, frame, first_sent_ms)
        self._reconnector.wake()
        return pending

    async def _open(self, nursery: trio.Nursery) -> None:
        """Wait until the session is live; the nursery keeps it live. Raises SignedOut or Unreachable."""
        nursery.start_soon(self._reconnector.run)
        with trio.move_on_after(OPEN_DEADLINE):
            await self._reconnector.ready.wait()
        if self._reconnector.ended is not None:
            raise self._reconnector.ended
        if not self.is_connected:
            raise Unreachable(f"no session within {OPEN_DEADLINE:g} s")


class Submission:
    """A submitted message."""

    def __init__(self, pending: "_PendingCommand", client_message_id: str) -> None:
        self.client_message_id = client_message_id
        self._pending = pending

    async def answer(self, deadline: float = ANSWER_DEADLINE) -> pb.Accepted:
        """Wait until the message can't be lost. Raises like `Client.send`; the message is not sent again after that."""
        accepted = await self._pending.wait(deadline, self.client_message_id)
        assert accepted is not None  # noqa: S101 - for the type checker: a message has an answer
        return accepted


class _PendingCommand:
    """A command that waits for its answer."""

    def __init__(self, outbox: Outbox, frame: pb.ClientFrame, first_sent_ms: int | None) -> None:
        self._outbox = outbox
        self._frame = frame
        self._answered = trio.Event()
        self._outcome: pb.Accepted | Refused | None = None
        outbox.submit(frame, self._finish, first_sent_ms)

    async def wait(self, deadline: float, client_message_id: str = "") -> pb.Accepted | None:
        try:
            with trio.move_on_after(deadline):
                await self._answered.wait()
        finally:
            self._outbox.forget(self._frame)
        if not self._answered.is_set():
            raise Unreachable(f"no answer within {deadline:g} s", client_message_id=client_message_id)
        if isinstance(self._outcome, Refused):
            raise self._outcome
        return self._outcome

    def _finish(self, outcome: pb.Accepted | Refused | None) -> None:
        self._outcome = outcome
        self._answered.set()


CONNECT = {"grpc": connect_grpc, "websocket": connect_websocket}
"""The function that opens a stream of each transport."""


@asynccontextmanager
async def open_client(
    base_url: str,
    name: str,
    password: str,
    *,
    register: bool = False,
    client_name: str = "rookery-python",
    transport: Transport = "grpc",
    ca_file: Path | None = None,
    connect: Connect | None = None,
    http_transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Client]:
    """Sign in (with `register`, create the account first) and keep a session live while the block is open.

    `base_url` is the BFF's, such as http://127.0.0.1:8080. Raises Refused, for instance for a wrong password, and
    Unreachable without a session within `OPEN_DEADLINE` seconds. After that the client reconnects by itself.
    `transport` carries the session; `connect` and `http_transport` replace the connections to the gateway and to the
    BFF. Servers with TLS need a certificate for their name: from an authority in `ca_file` (PEM; raises
    UnusableCertificate if it can't be used), or without it, from one that the system trusts.
    """
    async with (
        open_api(base_url, name, password, device_name=client_name, ca_file=ca_file, transport=http_transport) as api,
        open_background() as nursery,
    ):
        if register:
            await api.register()
        await api.sign_in()
        client = Client(api, client_name, transport, connect or partial(CONNECT[transport], ca_file=ca_file))
        await client._open(nursery)
        yield client
