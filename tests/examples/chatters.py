"""The example clients as programs: how each is built, and a user who chats with one."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from shared.background import open_background
from tools.launch.people import PASSWORD, Person
from tools.launch.process import ROOKERY
from tools.toolchains import (
    ROOT,
    copy_together,
    go_module,
    go_programs,
    maven_package,
    node_modules,
    python_environment,
)

EXAMPLES = ROOT / "examples"
PROTOS = ROOT / "protos/rookery"

Command = Callable[[str], list[str]]
"""Returns the command of the example in a language, which is built on the first call."""

LANGUAGES = ("go", "java", "node", "python")

QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Options for short-lived JVMs."""

MESSAGE = re.compile(r"(?:\[\d+\] \d\d:\d\d )?([\w.-]+): (.*)")
"""A message as the examples and `rookery chat` show it."""


PATIENCE = 90.0
"""Seconds to wait for an expected output, which may take 10: only a test that has failed waits longer."""

CONNECTED = ("* connected", "writing to ")
"""Output of the examples and of `rookery chat` once there is a session."""


def prepare(language: str, folder: Path) -> list[str]:
    """Build an example as in its README.md, with copies in the folder, and return its command. Raises Missing."""
    return {"go": _go, "java": _java, "node": _node, "python": _python}[language](folder)


def _go(folder: Path) -> list[str]:
    return [str(go_programs(go_module(EXAMPLES / "go", PROTOS)) / "chat")]


def _java(folder: Path) -> list[str]:
    return ["java", *QUICK_START, "-jar", str(maven_package(EXAMPLES / "java", PROTOS) / "chat.jar")]


def _node(folder: Path) -> list[str]:
    example = copy_together(folder, EXAMPLES / "node", PROTOS)
    (example / "node_modules").symlink_to(node_modules(EXAMPLES / "node"))
    return ["node", str(example / "chat.js")]


def _python(folder: Path) -> list[str]:
    python = str(python_environment(EXAMPLES / "python/requirements.txt"))
    example = shutil.copytree(EXAMPLES / "python", folder / "python")
    protoc = [python, "-m", "grpc_tools.protoc", f"-I{PROTOS.parent}", "--python_out=.", "--grpc_python_out=."]
    protos = [f"rookery/v1/{name}.proto" for name in ("files", "groups", "kinds", "session")]
    subprocess.run([*protoc, *protos], cwd=example, check=True)
    return [python, str(example / "chat.py")]


class Chatter:
    """A user who chats with another, and the output of the user's client."""

    def __init__(self, person: Person, process: trio.Process) -> None:
        self.person = person
        self.lines: list[str] = []
        self._process = process
        self._changed = trio.Event()

    async def enter(self, *texts: str) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all("".join(f"{text}\n" for text in texts).encode())

    def shown(self, author: str) -> Sequence[str]:
        """Return the shown messages of an author, or of `accepted`."""
        matches = [MESSAGE.fullmatch(line) for line in self.lines]
        return [match[2] for match in matches if match and match[1] == author]

    @property
    def accepted(self) -> Sequence[str]:
        """Return the user's accepted messages: examples mark them as accepted, `rookery chat` shows them then."""
        return [*self.shown("accepted"), *self.shown(self.person.name)]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until the output fulfils the condition."""
        with trio.move_on_after(PATIENCE):
            while not is_so():
                self._changed = trio.Event()
                await self._changed.wait()
        assert is_so(), self.lines

    async def until_accepted(self, *texts: str) -> None:
        """Wait until exactly these texts are accepted, in this order."""
        await self.until(lambda: len(self.accepted) >= len(texts))
        assert self.accepted == list(texts), self.lines

    async def until_shown(self, author: str, *texts: str) -> None:
        """Wait until exactly these texts of an author are shown, in this order."""
        await self.until(lambda: len(self.shown(author)) >= len(texts))
        assert self.shown(author) == list(texts), self.lines

    async def until_connected(self) -> None:
        await self.until(lambda: any(line.startswith(CONNECTED) for line in self.lines))

    async def until_disconnected(self) -> None:
        await self.until(lambda: any(line.startswith("* no session") for line in self.lines))

    async def until_ended(self) -> int:
        """Wait until the program ends by itself, and return the exit code."""
        with trio.fail_after(PATIENCE):
            return await self._process.wait()

    async def finish(self, end: signal.Signals | None = None) -> int:
        """End the input, or send a signal, and return the exit code."""
        assert self._process.stdin is not None
        if end is None:
            await self._process.stdin.aclose()
        else:
            self._process.send_signal(end)
        with trio.fail_after(PATIENCE):
            return await self._process.wait()

    async def read(self) -> None:
        """Collect the output, to its end."""
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + bytes(data)).split(b"\n")
            self.lines += [line.decode() for line in lines]
            self._changed.set()


@asynccontextmanager
async def open_chatter(command: list[str], url: str, person: Person, other: str) -> AsyncIterator[Chatter]:
    """Run an example for a user, with the name of another user or the id of a group."""
    async with _open_program([*command, url, person.name, other], person) as chatter:
        yield chatter


@asynccontextmanager
async def open_rookery_chat(folder: Path, url: str, person: Person, other: Person) -> AsyncIterator[Chatter]:
    """Run `rookery chat` for a user."""
    (folder / "password").write_text(PASSWORD)
    options = ["--url", url, "--with", other.name, "--password-file", str(folder / "password")]
    async with _open_program([str(ROOKERY), "chat", person.name, *options], person) as chatter:
        yield chatter


@asynccontextmanager
async def _open_program(command: list[str], person: Person) -> AsyncIterator[Chatter]:
    environment = os.environ | {"CHAT_PASSWORD": PASSWORD, "ROOKERY_FILE": os.devnull}
    async with open_background() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process,
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                check=False,
            )
        )
        chatter = Chatter(person, process)
        nursery.start_soon(chatter.read)
        yield chatter
