"""The public client: a live session, and what one does in it."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import trio

from rookery.client.connection import connect_grpc
from rookery.client.core import ClientEvent
from rookery.client.errors import Refused, Unreachable
from rookery.client.events import EventQueue
from rookery.client.http import Api, User, open_api
from rookery.client.keeper import Connect, Keeper, Transport
from rookery.client.outbox import Outbox
from rookery.client.websocket import connect_websocket
from rookery.v1 import session_pb2 as pb
from shared.background import open_background

OPEN_DEADLINE = 15.0
"""Seconds that `open_client` tries to get a session."""

ANSWER_DEADLINE = 30.0
"""Seconds that `send` waits, over reconnects: long enough for a gateway to be replaced."""


class Client:
    """Made by `open_client`. All of it may be used from many tasks at once; events are for one reader."""

    def __init__(self, api: Api, client_name: str, transport: Transport, connect: Connect) -> None:
        self.api = api
        self._queue = EventQueue()
        self._keeper = Keeper(api, client_name, transport, connect, self._queue)
        self._session = self._keeper.session

    @property
    def me(self) -> User:
        """The user who is signed in."""
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
        deadline: float = ANSWER_DEADLINE,
    ) -> pb.Accepted:
        """Send a text `to` a user (their id, a number) or a chat (its id, a string); returns once it can't be lost.

        Raises Refused; Unreachable if there is no answer within `deadline` seconds; SignedOut. After the first two,
        trying again with the exception's `client_message_id` never makes a second message.
        """
        return await self.submit(to, text, reply_to=reply_to, client_message_id=client_message_id).answer(deadline)

    def submit(self, to: int | str, text: str, *, reply_to: int = 0, client_message_id: str = "") -> "Submission":
        """Like `send`, but it returns at once: what is submitted one after the other is sent in that order.

        Raises SignedOut; Refused if too much waits for an answer already.
        """
        message_id = client_message_id or secrets.token_hex(16)
        send = pb.Send(client_message_id=message_id, text=pb.Text(body=text), reply_to=reply_to)
        if isinstance(to, int):
            send.recipient_id = to
        else:
            send.chat_id = to
        return Submission(self._submit(pb.ClientFrame(send=send)), message_id)

    async def react(self, chat_id: str, message_id: int, emoji: str, *, deadline: float = ANSWER_DEADLINE) -> None:
        """Set a reaction; returns once everyone is told. Raises like `send`. Setting it twice is the same as once."""
        react = pb.React(chat_id=chat_id, message_id=message_id, emoji=emoji)
        await self._submit(pb.ClientFrame(react=react)).wait(deadline)

    async def unreact(self, chat_id: str, message_id: int, emoji: str, *, deadline: float = ANSWER_DEADLINE) -> None:
        """Take a reaction back. As `react`."""
        unreact = pb.Unreact(chat_id=chat_id, message_id=message_id, emoji=emoji)
        await self._submit(pb.ClientFrame(unreact=unreact)).wait(deadline)

    def mark(self, chat_id: str, *, delivered_up_to: int = 0, read_up_to: int = 0) -> None:
        """Say how far this user has come in a chat. It is sent when there is a session, until the server has it."""
        receipt = pb.Receipt(chat_id=chat_id, delivered_up_to=delivered_up_to, read_up_to=read_up_to)
        self._session.outbox.submit(pb.ClientFrame(receipt=receipt), lambda outcome: None)
        self._keeper.wake()

    def typing(self, chat_id: str) -> None:
        """Say that the user is writing, if there is a session now. Repeat it every 4 seconds."""
        self._session.say(pb.ClientFrame(typing=pb.Typing(chat_id=chat_id)))
        self._keeper.wake()

    def events(self) -> AsyncIterator[ClientEvent]:
        """What happens in the user's chats, each once and in order, over all reconnects, from the opening on.

        A reader who falls 10,000 events behind gets a Gap in place of what follows. After a Gap, read what changed
        from `api.chats` and `api.history`. Ends only by raising SignedOut.
        """
        return self._queue

    def _submit(self, frame: pb.ClientFrame) -> "_Answer":
        if self._keeper.ended is not None:
            raise self._keeper.ended
        answer = _Answer(self._session.outbox, frame)
        self._keeper.wake()
        return answer

    async def _open(self, nursery: trio.Nursery) -> None:
        """Have the session live, and kept so in the nursery. Raises SignedOut or Unreachable."""
        nursery.start_soon(self._keeper.run)
        with trio.move_on_after(OPEN_DEADLINE):
            await self._keeper.ready.wait()
        if self._keeper.ended is not None:
            raise self._keeper.ended
        if not self.is_connected:
            raise Unreachable(f"no session within {OPEN_DEADLINE:g} s")


class Submission:
    """A message on its way."""

    def __init__(self, answer: "_Answer", client_message_id: str) -> None:
        self.client_message_id = client_message_id
        self._answer = answer

    async def answer(self, deadline: float = ANSWER_DEADLINE) -> pb.Accepted:
        """Wait until the message can't be lost. Raises like `Client.send`; after that it is not sent again."""
        accepted = await self._answer.wait(deadline, self.client_message_id)
        assert accepted is not None  # noqa: S101 - for the type checker: a message has an answer
        return accepted


class _Answer:
    """Of something that was asked for in the session."""

    def __init__(self, outbox: Outbox, frame: pb.ClientFrame) -> None:
        self._outbox = outbox
        self._frame = frame
        self._came = trio.Event()
        self._outcome: pb.Accepted | Refused | None = None
        outbox.submit(frame, self._finish)

    async def wait(self, deadline: float, client_message_id: str = "") -> pb.Accepted | None:
        try:
            with trio.move_on_after(deadline):
                await self._came.wait()
        finally:
            self._outbox.forget(self._frame)
        if not self._came.is_set():
            raise Unreachable(f"no answer within {deadline:g} s", client_message_id=client_message_id)
        if isinstance(self._outcome, Refused):
            raise self._outcome
        return self._outcome

    def _finish(self, outcome: pb.Accepted | Refused | None) -> None:
        self._outcome = outcome
        self._came.set()


CONNECT = {"grpc": connect_grpc, "websocket": connect_websocket}
"""By the transport."""


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
    """Sign in (with `register`, make the account first) and hold a session for as long as the block is open.

    `base_url` is where the BFF is, such as http://127.0.0.1:8080. Raises Refused, such as for a wrong password, and
    Unreachable if there is no session within `OPEN_DEADLINE` seconds. After that the client reconnects by itself.
    `transport` is what carries the session; `connect` and `http_transport` replace how it connects to the gateway and
    to the BFF. Servers with TLS must have a certificate for their name: of an authority in `ca_file` (PEM; raises
    UnusableCertificate if it is not), or without it, of one that this system trusts.
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
