"""Past messages in `rookery chat`: pages of history, pinned and starred ones, and the edits and readers of one."""

from collections.abc import Callable, Sequence

from rookery.client import Client
from rookery.commands.terminal.commands import MAX_PAGE, InvalidCommand
from rookery.commands.terminal.groups import TerminalGroups
from rookery.commands.terminal.messages import ShownMessages
from rookery.commands.terminal.names import UserNames
from rookery.commands.terminal.texts import clock, indented, with_names


class TerminalHistory:
    """Shows past messages. All methods but `restart` raise RookeryError; ones with a number, which is that of a shown
    message, raise InvalidCommand if there is none."""

    def __init__(
        self,
        client: Client,
        show: Callable[[str], None],
        names: UserNames,
        groups: TerminalGroups,
        messages: ShownMessages,
    ) -> None:
        self._client = client
        self._show = show
        self._names = names
        self._groups = groups
        self._messages = messages
        self._oldest = 0
        """The oldest message of the open chat that was shown; 0 before that."""

    def restart(self) -> None:
        """Begin at the newest messages again, such as those of another chat."""
        self._oldest = 0

    async def show(self, chat_id: str, count: int, *, older: bool) -> None:
        """Show the newest messages, or the ones before the messages that were shown. Raises InvalidCommand for a count
        outside 1 to MAX_PAGE."""
        if not 1 <= count <= MAX_PAGE:
            raise InvalidCommand(f"COUNT is 1 to {MAX_PAGE}")
        anchor = {"before_id": self._oldest} if older and self._oldest else {}
        page = await self._client.api.history(chat_id, limit=count, **anchor)
        for item in page.messages:
            await self._messages.show_item(item)
        if page.messages:
            self._oldest = page.messages[0].message.message_id
        self._show("/older shows earlier messages" if page.has_older else "the chat begins here")

    async def show_having(self, chat_id: str, kind: str) -> None:
        """Show the newest messages with a kind of change that is listed, such as `pinned`."""
        page = await self._client.api.history(chat_id, limit=MAX_PAGE, having=kind)
        for item in page.messages:
            await self._messages.show_item(item)
        if page.has_older:
            self._show(f"only the newest {MAX_PAGE} are listed")
        elif not page.messages:
            self._show(f"no message is {kind}")

    async def edits(self, number: int) -> Sequence[str]:
        """Return a line for the text of a message as it was sent, and one for each text that replaced it."""
        message = self._messages.get(number)
        edits = await self._client.api.versions(message.chat_id, message.message_id, "edited")
        if not edits:
            return [f"[{number}] has no edits"]
        texts = [(message.message_id, message.text), *((edit.event_id, edit.change.edited.text) for edit in edits)]
        return [f"    {clock(event_id)} {indented(with_names(text, self._names.known))}" for event_id, text in texts]

    async def readers(self, number: int) -> str:
        """Return a line with the readers of a message, but not its sender and the user. The server leaves out members
        who hide their reading. Raises InvalidCommand in a channel."""
        message = self._messages.get(number)
        if self._groups.is_channel(message.chat_id):
            raise InvalidCommand("a channel does not show the readers of a message")
        marks = (await self._client.groups.marks(message.chat_id, from_id=message.message_id)).marks
        readers = {mark.user_id for mark in marks if mark.read_up_to >= message.message_id}
        readers -= {message.sender_id, self._client.me.user_id}
        await self._names.read(readers)
        names = sorted([await self._names.of(user_id) for user_id in readers])
        if not names:
            return f"nobody else is known to have seen [{number}]"
        return f"[{number}] was seen by {', '.join(names)}"
