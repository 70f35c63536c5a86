"""The terminal of `rookery chat`: reads lines, and shows text that can't control the terminal."""

import os
import shutil
import sys
import termios
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import trio

PROMPT = "> "
CLEAR_LINE = "\r\x1b[K"
LINE_UP = "\x1b[1A"
TAB = " " * 4

UNSAFE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode categories of the characters that control a terminal, the direction of text, or lines."""

JOINERS = frozenset("\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}")
"""Characters of these categories that emoji and Persian words need."""


def printable(text: str) -> str:
    """Replace control characters, with which a name or message could control the terminal; line breaks stay."""
    return "".join(
        char if char in JOINERS or char == "\n" or unicodedata.category(char) not in UNSAFE else "\ufffd"
        for char in text.replace("\t", TAB)
    )


class Screen:
    """Reads and shows lines. In a terminal, lines are shown above the line being typed."""

    def __init__(self, *, interactive: bool) -> None:
        self._interactive = interactive
        self._is_typing = False
        self._is_typed_last = True
        """Whether nothing was shown after the line that was typed last."""

    def show(self, text: str) -> None:
        self._is_typed_last = False
        text = printable(text)
        if not self._is_typing:
            print(text, flush=True)
            return
        import readline

        print(f"{CLEAR_LINE}{text}\n{PROMPT}{readline.get_line_buffer()}", end="", flush=True)

    def erase_typed(self, typed: str) -> None:
        """Erase the line that was just typed, in all rows that it takes, unless other lines were shown below it."""
        if self._interactive and self._is_typed_last:
            rows = (len(PROMPT) + _columns(typed)) // shutil.get_terminal_size().columns + 1
            print(f"{LINE_UP}{CLEAR_LINE}" * rows, end="", flush=True)

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
            self._is_typed_last = True


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


def _columns(text: str) -> int:
    """The columns that the text takes in a terminal: two for a wide character, none for a combining one."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _read_typed() -> str | None:
    """Return the next line; None at the end of the input."""
    try:
        return input(PROMPT)
    except EOFError:
        return None
