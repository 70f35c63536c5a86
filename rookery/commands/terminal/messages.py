"""The messages that `rookery chat` has shown: their numbers, and their states by the changes that were received."""

from collections.abc import Callable, Sequence

from rookery.client import Event, HistoryMessage, Message, State, Text, apply_change
from rookery.commands.terminal.commands import InvalidCommand
from rookery.commands.terminal.groups import TerminalGroups
from rookery.commands.terminal.names import UserNames
from rookery.commands.terminal.texts import (
    change_text,
    clock,
    content_of,
    control_text,
    indented,
    is_set,
    listed_in,
    reactions_of,
    text_of,
    users_in,
)
from shared.contract.chats import is_group

MAX_SHOWN = 10_000
"""Messages whose changes are kept; the first known is dropped first: commands can't refer to it any more."""


class ShownMessages:
    """Shows messages and their changes, each message with a number by which a command can refer to it."""

    def __init__(self, show: Callable[[str], None], names: UserNames, groups: TerminalGroups) -> None:
        self.open_chat_id = ""
        """The chat that is written to: a message of another group is shown with the group's name."""
        self._show = show
        self._names = names
        self._groups = groups
        self._last = 0
        """The highest number of a message."""
        self._shown: dict[int, Message] = {}
        """By number."""
        self._numbers: dict[int, int] = {}
        """By message id. Each message with a number has a state."""
        self._states: dict[int, State] = {}
        """By message id. A change may come before its message."""

    def has(self, message_id: int) -> bool:
        """Whether a message has a number."""
        return message_id in self._numbers

    def get(self, number: int) -> Message:
        """Return the message with this number. Raises InvalidCommand if there is none."""
        if number not in self._shown:
            raise InvalidCommand(f"there is no message [{number}]" if number else "no message is shown yet")
        return self._shown[number]

    def content(self, number: int) -> Text:
        """Return the current text of the message with this number. Raises InvalidCommand if there is none."""
        message = self.get(number)
        state = self.state(message.message_id)
        if is_set(state, "hidden"):
            raise InvalidCommand(f"[{number}] was deleted for you")
        content = content_of(message, state)
        if content is None:
            raise InvalidCommand(f"[{number}] was deleted")
        return content

    def forget(self, chat_id: str) -> None:
        """Forget the messages of a chat of which events were missed: commands can't refer to them any more."""
        for message in [each for each in self._shown.values() if each.chat_id == chat_id]:
            self._drop(message.message_id)

    def number(self, words: Sequence[str]) -> int:
        """Return the number in an argument, or without one that of the newest shown message; 0 if there is none."""
        if words:
            return int(words[0])
        return self._numbers[max(self._numbers)] if self._numbers else 0

    def state(self, message_id: int) -> State:
        """Return the state of a message: changes may be applied to it."""
        if message_id not in self._states and len(self._states) >= MAX_SHOWN:
            self._drop(next(iter(self._states)))
        return self._states.setdefault(message_id, {})

    async def show(self, message: Message) -> None:
        """Show a message, unless the user has hidden it."""
        state = self.state(message.message_id)
        if is_set(state, "hidden"):
            return
        number = self._number_of(message)
        content = content_of(message, state)
        self._groups.note_sender(message)
        await self._names.read(users_in(message, content))
        name = await self._names.of(message.sender_id)
        if is_group(message.chat_id) and message.chat_id != self.open_chat_id and message.control.version != 1:
            name += f" in {await self._groups.title(message.chat_id)}"
        if message.HasField("control"):
            text = f" {control_text(message, self._names.known)}"
        else:
            label = " (forwarded)" if message.forwarded and content else ""
            if message.reply_to and content:
                label += f" (reply to {self._reference(message.reply_to)})"
            text = f"{label}: {indented(text_of(message, state, self._names.known))}"
        self._show(f"[{number}] {clock(message.message_id)} {name}{text}")

    async def show_item(self, item: HistoryMessage) -> None:
        """Show a message of history with its listed kinds, such as a pin, and its reactions."""
        state = self.state(item.message.message_id)
        for event in item.changes:
            apply_change(state, event)
        await self.show(item.message)
        notes = [*listed_in(state), *(f"{emoji} {count}" for emoji, count in reactions_of(state).items())]
        if notes and not is_set(state, "hidden"):
            self._show("    " + "  ".join(notes))

    async def show_change(self, event: Event) -> None:
        """Show the change of a message, unless a newer one is shown already or the user has hidden the message."""
        target_id = event.change.target_id
        is_new = bool(target_id) and apply_change(self.state(target_id), event)
        if is_new and (event.change.HasField("hidden") or not is_set(self.state(target_id), "hidden")):
            await self._names.read(mention.user_id for mention in event.change.edited.text.mentions)
            text = change_text(event.change, self._reference(target_id), self._names.known)
            if text:
                self._show(f"{await self._names.of(event.change.actor_id)} {indented(text)}")

    def _reference(self, message_id: int) -> str:
        """The number of a message in a text, or words for a message that has none."""
        number = self._numbers.get(message_id)
        return f"[{number}]" if number else "an older message"

    def _number_of(self, message: Message) -> int:
        """Return the number of a message; a message that has none gets the next one."""
        number = self._numbers.setdefault(message.message_id, self._last + 1)
        self._last = max(self._last, number)
        self._shown[number] = message
        return number

    def _drop(self, message_id: int) -> None:
        """Forget the state of a message, and its number with it: without the state, a command would take the message
        as it was sent, although it may be deleted."""
        del self._states[message_id]
        if number := self._numbers.pop(message_id, 0):
            del self._shown[number]
