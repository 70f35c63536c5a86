"""Sends and edits the messages of `rookery chat`, with their mentions and files."""

import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rookery.client import Change, Client, Event, FileInfo, Message, Refused, Text, refs_in
from rookery.client.http import Repetition
from rookery.commands.terminal.groups import TerminalGroups
from rookery.commands.terminal.messages import ShownMessages
from rookery.commands.terminal.names import UserNames
from rookery.commands.terminal.texts import has_everyone, mentions_in
from shared.contract.chats import direct_members, is_group
from shared.contract.ids import wall_clock_ms

Answer = TypeVar("Answer")

MENTIONED = re.compile(r"mentions\[(\d+)\]\.user_id")
"""The end of the field of a refusal that concerns the user of a mention."""


class TerminalComposer:
    """Sends messages, and edits them: again after a refusal that is retryable, as `Repetition` allows. Methods with a
    number, which is that of a shown message, raise InvalidCommand if there is none; all of them raise RookeryError."""

    def __init__(self, client: Client, names: UserNames, groups: TerminalGroups, messages: ShownMessages) -> None:
        self._client = client
        self._names = names
        self._groups = groups
        self._messages = messages

    async def send(self, chat_id: str, text: str, *, files: Sequence[FileInfo] = (), reply_to: int = 0) -> Message:
        """Send a message, which replies to the one with the id `reply_to` unless that is 0, and return it."""
        content = await self._content(chat_id, text)
        with self._noting_former_members(content):
            accepted = await _repeated(
                lambda client_id, first_sent_ms: self._client.send(
                    chat_id,
                    text,
                    files=files,
                    mentions=content.mentions,
                    mentions_everyone=content.mentions_everyone,
                    reply_to=reply_to,
                    client_message_id=client_id,
                    first_sent_ms=first_sent_ms,
                )
            )
        return Message(
            message_id=accepted.event_id,
            chat_id=chat_id,
            sender_id=self._client.me.user_id,
            text=content,
            files=files,
            reply_to=reply_to,
        )

    async def reply(self, number: int, text: str) -> Message:
        """Send a reply to a message, in the chat of the message, and return the reply."""
        message = self._messages.get(number)
        return await self.send(message.chat_id, text, reply_to=message.message_id)

    async def edit(self, number: int, text: str) -> Event:
        """Replace the text of a message, and return the change."""
        message = self._messages.get(number)
        content = await self._content(message.chat_id, text)
        change = Change(chat_id=message.chat_id, target_id=message.message_id, edited={"text": content})

        async def edit(client_id: str, first_sent_ms: int) -> Event:
            change.client_change_id = client_id
            return await self._client.change(change, first_sent_ms=first_sent_ms)

        with self._noting_former_members(content):
            return await _repeated(edit)

    async def forward(self, number: int, name: str) -> str:
        """Send a copy of a message to another user, and return a line about it."""
        message = self._messages.get(number)
        content = self._messages.content(number)
        user = await self._client.api.find_user(name)
        members = self._client.me.user_id, user.user_id
        mentions = [mention for mention in content.mentions if mention.user_id in members]
        files = refs_in(message)
        await _repeated(
            lambda client_id, first_sent_ms: self._client.send(
                user.user_id,
                content.body,
                files=files,
                mentions=mentions,
                forwarded=True,
                client_message_id=client_id,
                first_sent_ms=first_sent_ms,
            )
        )
        return f"forwarded [{number}] to {user.name}"

    @contextmanager
    def _noting_former_members(self, content: Text) -> Iterator[None]:
        """Note a mentioned user as no member any more if the server refuses the message for that mention."""
        try:
            yield
        except Refused as refused:
            concerned = MENTIONED.search(refused.field)
            if concerned and refused.code == "not_found":
                self._groups.note_former(content.mentions[int(concerned[1])].user_id)
            raise

    async def _content(self, chat_id: str, text: str) -> Text:
        """Return the text with its mentions of members of the chat; of a group, only if it is the open one."""
        if is_group(chat_id):
            if "@" in text:
                await self._groups.read_names()
            members = self._groups.members if chat_id == self._messages.open_chat_id else {}
            return Text(body=text, mentions=mentions_in(text, members), mentions_everyone=has_everyone(text, members))
        known = self._names.known
        named = {member: known[member] for member in direct_members(chat_id) or () if member in known}
        return Text(body=text, mentions=mentions_in(text, named))


async def _repeated(send: Callable[[str, int], Awaitable[Answer]]) -> Answer:
    """Call `send`, which sends a message or a change with a client id and the time of its first sending in milliseconds
    since 1970, until it is not refused as retryable. Raises RookeryError."""
    client_id, first_sent_ms = secrets.token_hex(16), wall_clock_ms()
    repetition = Repetition()
    while True:
        try:
            return await send(client_id, first_sent_ms)
        except Refused as refused:
            await repetition.wait(refused)
