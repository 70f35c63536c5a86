"""The files of `rookery chat`: /send uploads one, and /save downloads the files of a message."""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import trio

from rookery.client import Client, FileInfo, Message, Refused, RookeryError, Unreachable, refs_in
from rookery.commands.terminal.commands import InvalidCommand
from rookery.commands.terminal.texts import size_text

PROGRESS_SECONDS = 5.0
"""Seconds between two lines about the progress of an upload or a download."""

_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")
"""Characters that a path must not have, though a name that another user chose may have them."""


class TerminalFiles:
    """Uploads and downloads files, and shows how far it is."""

    def __init__(self, client: Client, show: Callable[[str], None]) -> None:
        self._client = client
        self._show = show
        self._unfinished: dict[tuple[str, int, int], str] = {}
        """The client ids of uploads that failed, by path, size and modification time in nanoseconds of their files."""

    async def upload(self, text: str) -> tuple[FileInfo, str]:
        """Upload the file of `/send FILE [CAPTION]`, and return it and the caption.

        Raises InvalidCommand; RookeryError."""
        word, caption = split_file(text)
        with _path_errors(f"{word} can't be read"):
            path = await _expanded(word)
            return await self._upload(path), caption

    async def _upload(self, path: trio.Path) -> FileInfo:
        """Upload a file, or go on with the upload of this file that has failed before. Raises OSError; RookeryError."""
        found = await path.stat()
        self._show(f"uploading {path.name} ({size_text(found.st_size)})")
        key = str(path), found.st_size, found.st_mtime_ns
        client_id, progress = self._unfinished.pop(key, ""), self._progress(path.name, found.st_size)
        try:
            return await self._client.files.upload(Path(path), client_file_id=client_id, progress=progress)
        except (Refused, Unreachable) as failure:
            if isinstance(failure, Unreachable) or failure.retryable:
                self._unfinished[key] = failure.client_id
            raise

    async def save(self, message: Message, text: str) -> None:
        """Download the files of a message into a folder, by default the current one, or its only file to a new path.
        Show the path of each when it is saved. Raises InvalidCommand, which states how many files were saved before a
        failure; RookeryError if none was."""
        if not message.files:
            raise InvalidCommand("the message has no files")
        saved = 0
        try:
            with _path_errors(f"{text or 'this folder'} can't be written"):
                place = await _expanded(text)
                is_folder = await place.is_dir()
                if not is_folder and (len(message.files) > 1 or await place.exists()):
                    raise InvalidCommand(f"{place} {'exists already' if len(message.files) == 1 else 'is no folder'}")
                for file, ref in zip(message.files, refs_in(message), strict=True):
                    path = await _new_path(place, file.name) if is_folder else place
                    await self._client.files.save(ref, Path(path), progress=self._progress(file.name, file.size))
                    saved += 1
                    self._show(f"saved {path} ({size_text(file.size)})")
        except (InvalidCommand, RookeryError) as error:
            if not saved:
                raise
            reason = error if isinstance(error, InvalidCommand) else f"failed: {error}"
            raise InvalidCommand(f"{reason} ({saved} of {len(message.files)} saved)") from error

    def _progress(self, name: str, size: int) -> Callable[[int], None]:
        shown_at = trio.current_time()

        def show(done: int) -> None:
            nonlocal shown_at
            if trio.current_time() - shown_at >= PROGRESS_SECONDS:
                shown_at = trio.current_time()
                self._show(f"{name}: {size_text(done)} of {size_text(size)}")

        return show


def split_file(text: str) -> tuple[str, str]:
    """Split the path of a file from the text after it. A path with spaces is in quotes, or has backslashes before them,
    as terminals write a file that is dropped on them. Raises InvalidCommand."""
    rest = StringIO(text)
    words = shlex.shlex(rest, posix=True, punctuation_chars="")
    words.whitespace_split, words.commenters = True, ""
    try:
        word = words.get_token()
    except ValueError:
        raise InvalidCommand("a quote is not closed") from None
    if not word:
        raise InvalidCommand("/send FILE [CAPTION]")
    return word, rest.read().strip()


@contextmanager
def _path_errors(problem: str) -> Iterator[None]:
    """Raise errors of a path that a person typed as InvalidCommand: ValueError too, as for a path with a NUL."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise InvalidCommand(f"{problem}: {getattr(error, 'strerror', None) or error}") from error


async def _expanded(text: str) -> trio.Path:
    """Return the path in the home folder that its `~` names, or as it is if that names no user's."""
    try:
        return await trio.Path(text).expanduser()
    except RuntimeError:
        return trio.Path(text)


def _names(name: str) -> Iterator[str]:
    """Yield names for a file: its own without characters that lead to another folder or hide it, then numbered ones."""
    safe = Path(_UNSAFE.sub("_", name).lstrip(". ") or "file")
    yield safe.name
    for number in range(2, 1_000):
        yield f"{safe.stem} ({number}){safe.suffix}"


async def _new_path(folder: trio.Path, name: str) -> trio.Path:
    """Return a path in the folder that does not exist."""
    for each in _names(name):
        if not await (folder / each).exists():
            return folder / each
    raise InvalidCommand(f"{folder} has too many files of the name {name}")
