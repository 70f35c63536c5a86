"""The token by which the server knows this device at a sign-in, in memory and in a file."""

import os
import re
from contextlib import suppress
from pathlib import Path

import trio

_TOKEN = re.compile(r"[\w.-]{1,2048}", re.ASCII)
"""A token. The server refuses a sign-in with a longer one."""


class DeviceToken:
    """The device token of one account.

    A file that can't be read or written is ignored: without a token, the sign-in is only delayed while others try wrong
    passwords.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._token = ""

    async def load(self) -> str:
        """Return the token that was saved last, also by an earlier run of the program; empty if there is none."""
        if not self._token and self._path is not None:
            with suppress(OSError, ValueError):  # ValueError: a path with a NUL, or a file that is not UTF-8
                kept = await trio.Path(self._path).read_text()
                self._token = kept if _TOKEN.fullmatch(kept) else ""
        return self._token

    async def save(self, token: str) -> None:
        """Keep a token in place of the one before. Only the user may read its file."""
        self._token = token
        if self._path is not None:
            with suppress(OSError, ValueError):
                await trio.to_thread.run_sync(_write, self._path, token)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)
