"""`rookery chat`: a chat in the terminal, over gRPC. Line by line, so that it works in a pipe too.

Messages are numbered as they are shown, so that a reaction can name one.
"""

import os
import sys
import termios
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
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
"""Messages that /history shows, if it is not told how many."""

MAX_SHOWN = 10_000
"""Messages that keep their numbers."""

PROMPT = "> "
CLEAR_LINE = "\r\x1b[K"
LINE_UP = "\x1b[1A"

HELP = """\
/with NAME          write to someone
/history [COUNT]    show the newest messages
/react [NUMBER] E   react with the emoji E to a message, the newest if no number is given; /unreact takes it back
/help, /quit
Anything else is sent."""


async def run_chat(url: str, name: str, password: str, other: str | None, register: bool, ca_file: Path | None) -> int:
    """Chat until /quit or the end of the input; the exit status. Raises RookeryError if there is no session at all."""
    with open_screen() as screen:
        async with (
            open_client(url, name, password, register=register, client_name="rookery-chat", ca_file=ca_file) as client,
            open_background() as nursery,
        ):
            chat = TerminalChat(client, screen)
            if other is not None:
                await chat.obey(f"/with {other}")
            nursery.start_soon(chat.show_events, nursery.cancel_scope)
            async for line in screen.lines():
                if not await chat.obey(line):
                    break
            return 1 if chat.failed else 0
    return 1  # the sign-in ended


def split_command(line: str) -> tuple[str, Sequence[str]]:
    """The command in a line, such as `/react`, with its arguments; an empty command for what is to be sent."""
    if not line.startswith("/") or line.startswith("//"):
        return "", [line.removeprefix("/")] if line.startswith("//") else [line]
    command, *arguments = line.split()
    return command, arguments


class TerminalChat:
    """Does what lines say, and shows what happens."""

    def __init__(self, client: Client, screen: "Screen") -> None:
        self.failed = False
        """Whether anything that was asked for was refused."""
        self._client = client
        self._screen = screen
        self._chat_id = ""
        self._names: dict[int, str] = {client.me.user_id: client.me.name}
        self._shown: dict[int, Message] = {}
        self._numbers: dict[int, int] = {}

    async def obey(self, line: str) -> bool:
        """Do what the line says. False if it says to stop."""
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
                    await self._talk_to(name)
                case "/history", *count if all(each.isdecimal() for each in count):
                    await self._show_history(int(count[0]) if count else HISTORY)
                case "/react" | "/unreact", *number, emoji if all(each.isdecimal() for each in number):
                    await self._react(command, int(number[0]) if number else len(self._shown), emoji)
                case "/help", *_:
                    self._screen.show(HELP)
                case _:
                    self._screen.show("that is no command: /help lists them")
        except RookeryError as error:
            self.failed = True
            self._screen.show(f"not done: {error}")
        return True

    async def show_events(self, scope: trio.CancelScope) -> None:
        """Show what happens; if the sign-in ends, that is the end of the chat."""
        try:
            async for event in self._client.events():
                await self._show_event(event)
        except RookeryError as error:
            self._screen.show(f"signed out: {error}")
            scope.cancel()

    async def _send(self, text: str) -> None:
        if not self._chat_id:
            self._screen.show("to whom? /with NAME says")
            self.failed = True
            return
        accepted = await self._client.send(self._chat_id, text)
        me = self._client.me.user_id
        self._screen.erase_typed()
        await self._show_message(Message(message_id=accepted.message_id, chat_id=accepted.chat_id, sender_id=me), text)

    async def _talk_to(self, name: str) -> None:
        found = await self._client.api.find_users(name, limit=100)
        user = next((each for each in found if each.name == name.lower()), None)
        if user is None:
            raise Refused("not_found", f"there is no user {name}")
        self._names[user.user_id] = user.name
        self._chat_id = direct_chat_id(self._client.me.user_id, user.user_id)
        self._screen.show(f"writing to {user.name}")

    async def _show_history(self, count: int) -> None:
        if not self._chat_id:
            self._screen.show("of which chat? /with NAME says")
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
                await self._show_message(event)
                self._chat_id = self._chat_id or event.chat_id
                self._client.mark(event.chat_id, read_up_to=event.message_id)
            case Reaction():
                number = self._numbers.get(event.message_id)
                verb = "reacted with" if event.set else "took back"
                target = f"to [{number}]" if number else "to an older message"
                self._screen.show(f"{await self._name(event.user_id)} {verb} {event.emoji} {target}")
            case Gap():
                self._screen.show("some events were missed: /history shows what was written")
            case Disconnected():
                self._screen.show(f"the connection is gone ({event.reason}); what you write waits for the next")
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
                    self._names[user_id] = profile.name
        return self._names.get(user_id, f"user {user_id}")


def printable(text: str) -> str:
    """The text without control characters, with which a message could command the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


class Screen:
    """Where lines come from and go to. In a terminal, what is shown goes above the line that is being typed."""

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
        """Take away the line that was just typed."""
        if self._interactive:
            print(f"{LINE_UP}{CLEAR_LINE}", end="", flush=True)

    async def lines(self) -> AsyncIterator[str]:
        """What is typed or piped in, until its end."""
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
    """The terminal, left as it was found, even if someone was typing; or a pipe."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield Screen(interactive=False)
        return
    import readline  # noqa: F401 - gives input() its line editing

    before = termios.tcgetattr(sys.stdin)
    try:
        yield Screen(interactive=True)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
        print(CLEAR_LINE, end="", flush=True)


def _read_typed() -> str | None:
    """A line; None at the end of the input."""
    try:
        return input(PROMPT)
    except EOFError:
        return None
