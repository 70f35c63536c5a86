"""`rookery chat`: a chat in the terminal over gRPC, line by line, so that it also works in a pipe.

Shown messages are numbered, so that a reaction can refer to one.
"""

import os
import sys
import termios
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path

import trio

from rookery.client import (
    Client,
    Connected,
    Disconnected,
    Gap,
    Message,
    Reaction,
    Receipt,
    Refused,
    RookeryError,
    Typing,
    open_client,
)
from shared.background import open_background
from shared.contract.chats import direct_chat_id
from shared.contract.ids import time_of

HISTORY = 20
"""Messages that /history shows by default."""

MAX_SHOWN = 10_000
"""The largest number of a message."""

PROMPT = "> "
CLEAR_LINE = "\r\x1b[K"
LINE_UP = "\x1b[1A"

HELP = """\
/with NAME          write to NAME
/history [COUNT]    show the newest messages
/react [NUMBER] E   react with the emoji E to a message, by default the newest; /unreact removes it
/help, /quit
Any other line is sent as a message."""


async def run_chat(url: str, name: str, password: str, other: str | None, register: bool, ca_file: Path | None) -> int:
    """Chat until /quit or the end of the input; return the exit status. Raises RookeryError if no session opens."""
    with open_screen() as screen:
        async with (
            open_client(url, name, password, register=register, client_name="rookery-chat", ca_file=ca_file) as client,
            open_background() as nursery,
        ):
            chat = TerminalChat(client, screen)
            if other is not None:
                await chat.execute(f"/with {other}")
            nursery.start_soon(chat.show_events, nursery)
            async for line in screen.lines():
                if not await chat.execute(line):
                    break
            return 1 if chat.failed else 0
    return 1  # the sign-in ended


def split_command(line: str) -> tuple[str, Sequence[str]]:
    """Split a line into the command, such as `/react`, and its arguments; the command is empty for a message."""
    if not line.startswith("/") or line.startswith("//"):
        return "", [line.removeprefix("/")] if line.startswith("//") else [line]
    command, *arguments = line.split()
    return command, arguments


class TerminalChat:
    """Executes typed lines and shows events."""

    def __init__(self, client: Client, screen: "Screen") -> None:
        self.failed = False
        """Whether any line failed."""
        self._client = client
        self._screen = screen
        self._chat_id = ""
        self._names: dict[int, str] = {client.me.user_id: client.me.name}
        self._shown: dict[int, Message] = {}
        self._numbers: dict[int, int] = {}
        self._reading = trio.CancelScope()
        """Of the task that reads missed messages."""
        self._missed: Gap | None = None
        """The earliest Gap that is being read; None if no message is missing."""

    async def execute(self, line: str) -> bool:
        """Send the line or run its command. Return False for /quit."""
        command, arguments = split_command(line.rstrip("\r\n"))
        try:
            match command, *arguments:
                case "", text if text.strip():
                    await self._send(text)
                case "", *_:
                    self._screen.erase_typed()
                case "/quit" | "/exit", *_:
                    return False
                case "/with", name:
                    await self._open_chat(name)
                case "/history", *count if all(each.isdecimal() for each in count):
                    await self._show_history(int(count[0]) if count else HISTORY)
                case "/react" | "/unreact", *number, emoji if all(each.isdecimal() for each in number):
                    await self._react(command, int(number[0]) if number else len(self._shown), emoji)
                case "/help", *_:
                    self._screen.show(HELP)
                case _:
                    self._screen.show("unknown command: /help lists the commands")
        except RookeryError as error:
            self.failed = True
            self._screen.show(f"failed: {error}")
        return True

    async def show_events(self, nursery: trio.Nursery) -> None:
        """Show events, and, in a task of the nursery, missed messages; cancel the nursery when the sign-in ends."""
        try:
            async for event in self._client.events():
                if isinstance(event, Gap):
                    self._screen.show("some events were missed: reading history")
                    self._reading.cancel()  # one task reads everything since the earliest Gap
                    if self._missed is None or event.since_ms < self._missed.since_ms:
                        self._missed = event
                    self._reading = trio.CancelScope()
                    nursery.start_soon(self._show_missed, self._missed, self._reading)
                else:
                    await self._show_event(event)
        except RookeryError as error:
            self._screen.show(f"signed out: {error}")
            nursery.cancel_scope.cancel()

    async def _show_missed(self, gap: Gap, scope: trio.CancelScope) -> None:
        """Show the messages of history that are not shown yet, until it is complete or the scope is cancelled."""
        with scope:
            try:
                async with aclosing(self._client.missed(gap)) as items:
                    async for item in items:
                        if item.message.message_id not in self._numbers:
                            await self._show_message(item.message)
            except RookeryError as error:
                self._screen.show(f"history can't be read: {error}")
            self._missed = None

    async def _send(self, text: str) -> None:
        if not self._chat_id:
            self._screen.show("no chat is open: choose a user with /with NAME")
            self.failed = True
            return
        accepted = await self._client.send(self._chat_id, text)
        me = self._client.me.user_id
        self._screen.erase_typed()
        await self._show_message(Message(message_id=accepted.message_id, chat_id=accepted.chat_id, sender_id=me), text)

    async def _open_chat(self, name: str) -> None:
        found = await self._client.api.find_users(name, limit=100)
        user = next((each for each in found if each.name == name.lower()), None)
        if user is None:
            raise Refused("not_found", f"there is no user {name}")
        self._names[user.user_id] = user.name
        self._chat_id = direct_chat_id(self._client.me.user_id, user.user_id)
        self._screen.show(f"writing to {user.name}")

    async def _show_history(self, count: int) -> None:
        if not self._chat_id:
            self._screen.show("no chat is open: choose a user with /with NAME")
            return
        page = await self._client.api.history(self._chat_id, limit=min(max(count, 1), 100))
        for item in page.messages:
            await self._show_message(item.message)
            if item.reactions:
                self._screen.show("    " + "  ".join(f"{each.emoji} {len(each.user_ids)}" for each in item.reactions))

    async def _react(self, command: str, number: int, emoji: str) -> None:
        message = self._shown.get(number)
        if message is None:
            self._screen.show(f"there is no message [{number}]")
            return
        act = self._client.react if command == "/react" else self._client.unreact
        await act(message.chat_id, message.message_id, emoji)

    async def _show_event(self, event: object) -> None:
        match event:
            case Message():
                if event.message_id not in self._numbers:  # else it was read from history
                    await self._show_message(event)
                self._chat_id = self._chat_id or event.chat_id
                self._client.mark(event.chat_id, read_up_to=event.message_id)
            case Reaction():
                number = self._numbers.get(event.message_id)
                verb = "reacted with" if event.set else "removed"
                target = f"to [{number}]" if number else "to an older message"
                self._screen.show(f"{await self._name(event.user_id)} {verb} {event.emoji} {target}")
            case Disconnected():
                self._screen.show(f"the connection is lost ({event.reason}); messages are sent after reconnecting")
            case Connected() | Typing() | Receipt() | _:
                pass

    async def _show_message(self, message: Message, text: str | None = None) -> None:
        number = self._numbers.get(message.message_id) or len(self._shown) + 1
        if number <= MAX_SHOWN:
            self._shown[number] = message
            self._numbers[message.message_id] = number
        clock = time.strftime("%H:%M", time.localtime(time_of(message.message_id) / 1000))
        body = printable(message.text.body if text is None else text)
        self._screen.show(f"[{number}] {clock} {await self._name(message.sender_id)}: {body}")

    async def _name(self, user_id: int) -> str:
        if user_id not in self._names:
            with suppress(RookeryError):
                for profile in await self._client.api.profiles([user_id]):
                    self._names[user_id] = profile.name or profile.display_name  # a deleted account has no name
        return self._names.get(user_id, f"user {user_id}")


def printable(text: str) -> str:
    """Replace control characters, with which a message could control the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


class Screen:
    """Reads and shows lines. In a terminal, lines are shown above the one that is being typed."""

    def __init__(self, *, interactive: bool) -> None:
        self._interactive = interactive
        self._is_typing = False

    def show(self, text: str) -> None:
        if not self._is_typing:
            print(text, flush=True)
            return
        import readline

        print(f"{CLEAR_LINE}{text}\n{PROMPT}{readline.get_line_buffer()}", end="", flush=True)

    def erase_typed(self) -> None:
        """Erase the line that was just typed."""
        if self._interactive:
            print(f"{LINE_UP}{CLEAR_LINE}", end="", flush=True)

    async def lines(self) -> AsyncIterator[str]:
        """Yield the typed or piped lines until the end of the input."""
        if self._interactive:
            while (typed := await self._read_typed()) is not None:
                yield typed
            return
        rest = b""
        while chunk := await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 64 * 1024, abandon_on_cancel=True):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")

    async def _read_typed(self) -> str | None:
        self._is_typing = True
        try:
            return await trio.to_thread.run_sync(_read_typed, abandon_on_cancel=True)
        finally:
            self._is_typing = False


@contextmanager
def open_screen() -> Iterator[Screen]:
    """Open the terminal, and restore its mode at the end, even during input; or open a pipe."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield Screen(interactive=False)
        return
    import readline  # noqa: F401 - adds line editing to input()

    before = termios.tcgetattr(sys.stdin)
    try:
        yield Screen(interactive=True)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
        print(CLEAR_LINE, end="", flush=True)


def _read_typed() -> str | None:
    """Return the next line; None at the end of the input."""
    try:
        return input(PROMPT)
    except EOFError:
        return None
