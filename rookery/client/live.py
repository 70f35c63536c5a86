"""The public client: a live session, and what one does in it."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import trio

from rookery.client.connection import connect_grpc
from rookery.client.core import ClientEvent
from rookery.client.errors import Refused, Unreachable
from rookery.client.events import EventQueue
from rookery.client.http import Api, User, open_api
from rookery.client.keeper import Connect, Keeper
from rookery.v1 import session_pb2 as pb
from shared.background import open_background

OPEN_DEADLINE = 15.0
"""Seconds that `open_client` tries to get a session."""

ANSWER_DEADLINE = 30.0
"""Seconds that `send` waits, over reconnects: long enough for a gateway to be replaced."""


class Client:
    """Made by `open_client`. All of it may be used from many tasks at once; events are for one reader."""

    def __init__(self, api: Api, client_name: str, connect: Connect) -> None:
        self.api = api
        self._queue = EventQueue()
        self._keeper = Keeper(api, client_name, connect, self._queue)
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
        message_id = client_message_id or secrets.token_hex(16)
        send = pb.Send(client_message_id=message_id, text=pb.Text(body=text), reply_to=reply_to)
        if isinstance(to, int):
            send.recipient_id = to
        else:
            send.chat_id = to
        accepted = await self._ask(pb.ClientFrame(send=send), deadline, message_id)
        assert accepted is not None  # noqa: S101 - for the type checker: a message has an answer
        return accepted

    async def react(self, chat_id: str, message_id: int, emoji: str, *, deadline: float = ANSWER_DEADLINE) -> None:
        """Set a reaction; returns once everyone is told. Raises like `send`. Setting it twice is the same as once."""
        react = pb.React(chat_id=chat_id, message_id=message_id, emoji=emoji)
        await self._ask(pb.ClientFrame(react=react), deadline)

    async def unreact(self, chat_id: str, message_id: int, emoji: str, *, deadline: float = ANSWER_DEADLINE) -> None:
        """Take a reaction back. As `react`."""
        unreact = pb.Unreact(chat_id=chat_id, message_id=message_id, emoji=emoji)
        await self._ask(pb.ClientFrame(unreact=unreact), deadline)

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

    async def _ask(self, frame: pb.ClientFrame, deadline: float, client_message_id: str = "") -> pb.Accepted | None:
        if self._keeper.ended is not None:
            raise self._keeper.ended
        answered = trio.Event()
        outcome: list[pb.Accepted | Refused | None] = []

        def finish(result: pb.Accepted | Refused | None) -> None:
            outcome.append(result)
            answered.set()

        self._session.outbox.submit(frame, finish)
        self._keeper.wake()
        try:
            with trio.move_on_after(deadline):
                await answered.wait()
        finally:
            self._session.outbox.forget(frame)
        if not outcome:
            raise Unreachable(f"no answer within {deadline:g} s", client_message_id=client_message_id)
        if isinstance(outcome[0], Refused):
            raise outcome[0]
        return outcome[0]

    async def _open(self, nursery: trio.Nursery) -> None:
        """Have the session live, and kept so in the nursery. Raises SignedOut or Unreachable."""
        nursery.start_soon(self._keeper.run)
        with trio.move_on_after(OPEN_DEADLINE):
            await self._keeper.ready.wait()
        if self._keeper.ended is not None:
            raise self._keeper.ended
        if not self.is_connected:
            raise Unreachable(f"no session within {OPEN_DEADLINE:g} s")


@asynccontextmanager
async def open_client(
    base_url: str,
    name: str,
    password: str,
    *,
    register: bool = False,
    client_name: str = "rookery-python",
    connect: Connect = connect_grpc,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Client]:
    """Sign in (with `register`, make the account first) and hold a session for as long as the block is open.

    `base_url` is where the BFF is, such as http://127.0.0.1:8080. Raises Refused, such as for a wrong password, and
    Unreachable if there is no session within `OPEN_DEADLINE` seconds. After that the client reconnects by itself.
    `connect` and `transport` replace how it connects to the gateway and to the BFF.
    """
    async with (
        open_api(base_url, name, password, device_name=client_name, transport=transport) as api,
        open_background() as nursery,
    ):
        if register:
            await api.register()
        await api.sign_in()
        client = Client(api, client_name, connect)
        await client._open(nursery)
        yield client
