"""The public client: a live session and its commands."""

import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio

from rookery.client.catch_up import CatchUp, list_chats
from rookery.client.channels import Channels
from rookery.client.connection import connect_grpc
from rookery.client.core import ClientEvent
from rookery.client.errors import Refused, Unreachable
from rookery.client.events import EventQueue
from rookery.client.files import Files, ref_of
from rookery.client.groups import Groups
from rookery.client.http import Api, User, open_api
from rookery.client.outbox import Outbox
from rookery.client.people import People
from rookery.client.reconnector import Connect, Reconnector, Transport
from rookery.client.websocket import connect_websocket
from rookery.v1 import session_pb2 as pb
from rookery.v1.files_pb2 import FileInfo, FileRef
from shared.background import open_background
from shared.contract.changes import toggle
from shared.contract.sessions import MAX_FOLLOWED, MAX_OPEN, MAX_WATCHED

OPEN_DEADLINE = 15.0
"""Seconds that `open_client` tries to open a session."""

ANSWER_DEADLINE = 30.0
"""Seconds that `send` and `change` wait, over reconnects: long enough for another gateway to take over."""

FOR_EVER = 2**63 - 1
"""The end of a mute that does not end."""


class Client:
    """A live session; `open_client` makes it. Many tasks may use it at once; `events` has one reader."""

    def __init__(self, api: Api, client_name: str, transport: Transport, connect: Connect) -> None:
        self.api = api
        self.groups = Groups(api)
        """Creates groups, and changes their settings and members."""
        self.files = Files(api)
        """Uploads and downloads files."""
        self.people = People(api)
        """Connects with users, blocks and reports them."""
        self._queue = EventQueue(lambda: self._session.server_ms())
        self._reconnector = Reconnector(
            api, client_name, transport, connect, self._queue, lambda event: self.channels.note(event)
        )
        self._session = self._reconnector.session
        self.channels = Channels(api, self._session, self._queue, self._reconnector.wake)
        """Opens channels."""
        self.catch_up = CatchUp(
            api, self._session.is_new, self._session.server_ms, self.channels.note_chat, self.channels.is_open
        )
        """Reads the events that are missing after a Gap."""

    @property
    def me(self) -> User:
        """The signed-in user."""
        return self.api.me

    @property
    def is_connected(self) -> bool:
        return self._session.welcome is not None

    def server_ms(self) -> int:
        """The server's time by its newest welcome, in milliseconds since 1970; before that, this machine's time."""
        return self._session.server_ms()

    async def send(
        self,
        to: int | str,
        text: str = "",
        *,
        files: Iterable[FileRef | FileInfo] = (),
        mentions: Iterable[pb.Mention] = (),
        mentions_everyone: bool = False,
        reply_to: int = 0,
        forwarded: bool = False,
        client_message_id: str = "",
        first_sent_ms: int | None = None,
        deadline: float = ANSWER_DEADLINE,
    ) -> pb.Accepted:
        """Send a text `to` a user (id as a number) or a chat (id as a string). Return once the message can't be lost.

        `files`, at most 10, are ones that `Client.files` has uploaded, or those of another message by `refs_in`. The
        text may be empty then.

        `mentions` are members of the chat: the text has the name of each after `@`. `mentions_everyone` mentions all
        members of a group, with `@everyone` or its translation in the text: Refused with `forbidden` without that
        permission. `forwarded` marks a copy of another message.

        Raises Refused; Unreachable without an answer within `deadline` seconds; SignedOut. After the first two, a retry
        with the exception's `client_id` never makes a second message, within 3 days. `first_sent_ms` is the time of the
        first call with this id, in milliseconds since 1970. Without it, the server looks for the message in its
        history; so pass the current time with an id of your own in a first call.
        """
        submission = self.submit(
            to,
            text,
            files=files,
            mentions=mentions,
            mentions_everyone=mentions_everyone,
            reply_to=reply_to,
            forwarded=forwarded,
            client_message_id=client_message_id,
            first_sent_ms=first_sent_ms,
        )
        return await submission.answer(deadline)

    def submit(
        self,
        to: int | str,
        text: str = "",
        *,
        files: Iterable[FileRef | FileInfo] = (),
        mentions: Iterable[pb.Mention] = (),
        mentions_everyone: bool = False,
        reply_to: int = 0,
        forwarded: bool = False,
        client_message_id: str = "",
        first_sent_ms: int | None = None,
    ) -> "Submission":
        """Send like `send`, but return at once. Messages are sent in the order of their submission.

        Raises SignedOut; Refused if 1,000 commands wait for an answer, or one with this client id and another content,
        or if the server refuses the session for good.
        """
        client_id = client_message_id or _new_client_id()
        content = pb.Text(body=text, mentions=mentions, mentions_everyone=mentions_everyone)
        refs = map(ref_of, files)
        send = pb.Send(client_message_id=client_id, text=content, files=refs, reply_to=reply_to, forwarded=forwarded)
        if isinstance(to, int):
            send.recipient_id = to
        else:
            send.chat_id = to
        return self._submit(pb.ClientFrame(send=send), client_id, _first_sent_ms(client_message_id, first_sent_ms))

    async def change(
        self, change: pb.Change, *, first_sent_ms: int | None = None, deadline: float = ANSWER_DEADLINE
    ) -> pb.Event:
        """Make a change of any kind: `change` has its `chat_id`, `target_id` and body. Return its event once it can't
        be lost; `events` does not repeat it.

        Raises like `send`; for a retry, set `client_change_id` to the exception's `client_id`.
        """
        submission = self.submit_change(change, first_sent_ms=first_sent_ms)
        event = pb.Event(event_id=(await submission.answer(deadline)).event_id, change=change)
        event.change.client_change_id, event.change.actor_id = submission.client_id, self.me.user_id
        return event

    def submit_change(self, change: pb.Change, *, first_sent_ms: int | None = None) -> "Submission":
        """Make a change like `change`, but return at once, like `submit`."""
        client_id = change.client_change_id or _new_client_id()
        frame = pb.ClientFrame(change=change)
        frame.change.client_change_id = client_id
        return self._submit(frame, client_id, _first_sent_ms(change.client_change_id, first_sent_ms))

    async def edit(
        self,
        chat_id: str,
        message_id: int,
        text: str,
        *,
        mentions: Iterable[pb.Mention] = (),
        mentions_everyone: bool = False,
    ) -> pb.Event:
        """Replace the text and the mentions of an own message, like `change`. The arguments are as those of `send`."""
        content = pb.Text(body=text, mentions=mentions, mentions_everyone=mentions_everyone)
        return await self._change(chat_id, message_id, edited=pb.Edited(text=content))

    async def delete(self, chat_id: str, message_id: int) -> pb.Event:
        """Delete an own message for everyone, like `change`."""
        return await self._change(chat_id, message_id, deleted=pb.Deleted())

    async def remove_preview(self, chat_id: str, message_id: int) -> pb.Event:
        """Remove the preview of the link in an own message, like `change`."""
        return await self._change(chat_id, message_id, previewed=pb.Previewed())

    async def react(self, chat_id: str, message_id: int, emoji: str) -> pb.Event:
        """Set a reaction, like `change`."""
        return await self._change(chat_id, message_id, reacted=pb.Reacted(emoji=emoji, set=True))

    async def unreact(self, chat_id: str, message_id: int, emoji: str) -> pb.Event:
        """Remove a reaction, like `change`."""
        return await self._change(chat_id, message_id, reacted=pb.Reacted(emoji=emoji))

    async def toggle(self, chat_id: str, message_id: int, kind: str, *, is_set: bool = True) -> pb.Event:
        """Set a change of a kind whose body is only `set`, such as `pinned` or `hidden`, or remove it, like `change`.

        `Api.history` with `having` lists the messages with a kind that is listed. Raises ValueError for another kind.
        """
        return await self.change(toggle(kind, is_set, chat_id=chat_id, target_id=message_id))

    async def mark_unread(self, chat_id: str, *, is_unread: bool = True) -> pb.Event:
        """Mark a chat as unread for the user alone, or remove that, like `change`. The read mark stays."""
        return await self.toggle(chat_id, 0, "marked_unread", is_set=is_unread)

    async def mark_all_read(self) -> Sequence[str]:
        """Mark all chats as read up to their newest messages, one after the other. Return the ids of those that were
        unread, or marked as unread. Raises like `change`; the chats before the failure are marked."""
        chats, _ = await list_chats(self.api.chats)
        marked = []
        for chat in chats.values():
            is_marked_unread = any(event.change.marked_unread.set for event in chat.changes)
            if chat.unread:
                marks = pb.Marked(read_up_to=chat.newest.message.message_id)
                await self._change(chat.chat_id, 0, marked=marks)
            if is_marked_unread:
                await self.mark_unread(chat.chat_id, is_unread=False)
            if chat.unread or is_marked_unread:
                marked.append(chat.chat_id)
        return marked

    async def mute(self, chat_id: str, *, until_ms: int = FOR_EVER, except_mentions: bool = False) -> pb.Event:
        """Mute a chat for the user alone, like `change`, until a time in milliseconds since 1970; 0 ends the mute. All
        devices compare it with the server's time: `server_ms`.

        The user's devices do not notify of its messages; with `except_mentions`, they still notify of mentions.
        `toggle` with the target 0 sets `chat_pinned`, `archived` and `without_previews`.
        """
        return await self._change(chat_id, 0, muted=pb.Muted(until_ms=until_ms, except_mentions=except_mentions))

    async def _change(self, chat_id: str, target_id: int, **body: Any) -> pb.Event:
        return await self.change(pb.Change(chat_id=chat_id, target_id=target_id, **body))

    def mark(self, chat_id: str, *, delivered_up_to: int = 0, read_up_to: int = 0) -> None:
        """Set the user's marks in a chat. Return at once; they are sent until there is an answer. Nothing reports that
        they were refused: the next marks of the chat are higher, and replace them."""
        marked = pb.Marked(delivered_up_to=delivered_up_to, read_up_to=read_up_to)
        self._session.outbox.submit(pb.ClientFrame(change=pb.Change(chat_id=chat_id, marked=marked)), lambda _: None)
        self._reconnector.wake()

    def typing(self, chat_id: str) -> None:
        """Signal that the user is typing, if there is a session. Repeat it every 4 seconds."""
        self._session.notify(pb.ClientFrame(typing=pb.Typing(chat_id=chat_id)))
        self._reconnector.wake()

    def watch(self, user_ids: Iterable[int]) -> None:
        """Watch these users, 200 at most, in place of the former ones: `events` has a Presence of each, then one at
        each change, and ProfileChanged when they change their profile. Raises ValueError for more."""
        watched = tuple(dict.fromkeys(user_ids))
        if len(watched) > MAX_WATCHED:
            raise ValueError(f"a session may watch {MAX_WATCHED} users")
        self._session.watch(watched)
        self._reconnector.wake()

    def follow(self, chat_ids: Iterable[str], open_chat_ids: Iterable[str] = ()) -> None:
        """Follow these channels, 200 at most, and have 20 of them open at most, in place of the former ones: only for a
        program that was opened with `follow_channels` false, since `channels` does it otherwise.

        `events` has Followed, or NotFollowed, now and after each reconnect. The program itself reads the missing events
        of the open ones. Raises ValueError for more.
        """
        followed, opened = tuple(dict.fromkeys(chat_ids)), tuple(dict.fromkeys(open_chat_ids))
        if len(followed) > MAX_FOLLOWED or len(opened) > MAX_OPEN:
            raise ValueError(f"a session may follow {MAX_FOLLOWED} channels, and have {MAX_OPEN} open")
        self._session.follow(followed, opened)
        self._reconnector.wake()

    def events(self) -> AsyncIterator[ClientEvent]:
        """Iterate over the events of the user's chats since the opening: each once, in order, over all reconnects. A
        change may come before the message that it changes. Of channels, see `channels`.

        A reader that falls 10,000 events behind gets a Gap in place of the next ones. After a Gap, read the events of
        `catch_up` in another task. Ends only by raising SignedOut, or Refused if the server refuses the session for
        good.
        """
        return self._queue

    def _submit(self, frame: pb.ClientFrame, client_id: str, first_sent_ms: int | None) -> "Submission":
        if self._reconnector.ended is not None:
            raise self._reconnector.ended
        submission = Submission(self._session.outbox, frame, client_id, first_sent_ms)
        self._reconnector.wake()
        return submission

    async def _open(self, nursery: trio.Nursery, *, follow_channels: bool) -> None:
        """Wait until the session is live; the nursery keeps it live. Raises Refused or Unreachable."""
        nursery.start_soon(self._reconnector.run)
        if follow_channels:
            nursery.start_soon(self.channels.run)
        with trio.move_on_after(OPEN_DEADLINE):
            await self._reconnector.ready.wait()
        if self._reconnector.ended is not None:
            raise self._reconnector.ended
        if not self.is_connected:
            raise Unreachable(f"no session within {OPEN_DEADLINE:g} s: {self._reconnector.reason}")


class Submission:
    """A message or a change that was submitted."""

    def __init__(self, outbox: Outbox, frame: pb.ClientFrame, client_id: str, first_sent_ms: int | None) -> None:
        self.client_id = client_id
        self._outbox = outbox
        self._frame = frame
        self._answered = trio.Event()
        self._answer: pb.Accepted | Refused | None = None
        outbox.submit(frame, self._finish, first_sent_ms)

    async def answer(self, deadline: float = ANSWER_DEADLINE) -> pb.Accepted:
        """Wait until it can't be lost. Raises like `Client.send`; it is not sent again after that."""
        try:
            with trio.move_on_after(deadline):
                await self._answered.wait()
        finally:
            self._outbox.forget(self._frame, self._finish)
        if self._answer is None:
            raise Unreachable(f"no answer within {deadline:g} s", client_id=self.client_id)
        if isinstance(self._answer, Refused):
            raise self._answer
        return self._answer

    def withdraw(self) -> None:
        """Do not send it again. `answer` must be cancelled."""
        self._outbox.forget(self._frame, self._finish)

    def _finish(self, answer: pb.Accepted | Refused) -> None:
        self._answer = answer
        self._answered.set()


def _new_client_id() -> str:
    return secrets.token_hex(16)


def _first_sent_ms(client_id: str, first_sent_ms: int | None) -> int | None:
    """Return the time of the first sending: perhaps long ago, if the caller passes a client id without it."""
    return 0 if client_id and first_sent_ms is None else first_sent_ms


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
    follow_channels: bool = True,
    device_file: Path | None = None,
    ca_file: Path | None = None,
    connect: Connect | None = None,
    http_transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Client]:
    """Sign in (with `register`, create the account first) and keep a session live while the block is open.

    `base_url` is the BFF's, such as http://127.0.0.1:8080. Raises Refused, for instance for a wrong password, and
    Unreachable without a session within `OPEN_DEADLINE` seconds. After that the client reconnects by itself.
    The session follows the user's channels, unless `follow_channels` is false; then use `Client.follow` in place of
    `Client.channels`. `transport` carries the session; `connect` and `http_transport` replace the connections to the
    gateway and to the BFF. Servers with TLS need a certificate for their name: from an authority in `ca_file` (PEM;
    raises UnusableCertificate if it can't be used), or without it, from one that the system trusts.

    By a token in `device_file`, one of this account alone, the server knows the device when the program runs again:
    else wrong passwords that others try delay its sign-in.
    """
    async with (
        open_api(
            base_url,
            name,
            password,
            device_name=client_name,
            device_file=device_file,
            ca_file=ca_file,
            transport=http_transport,
        ) as api,
        open_background() as nursery,
    ):
        if register:
            await api.register()
        await api.sign_in()
        client = Client(api, client_name, transport, connect or partial(CONNECT[transport], ca_file=ca_file))
        await client.catch_up.begin()  # before the session, so that no event lies between the two
        await client._open(nursery, follow_channels=follow_channels)
        yield client
