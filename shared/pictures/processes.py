"""Starts a worker (`worker.py`), sends it a picture, and reads its answer, of which nothing is trusted."""

import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from subprocess import DEVNULL, PIPE
from typing import Annotated, Literal, TypeVar, cast

import msgspec
import structlog
import trio

from shared.contract.errors import Unavailable
from shared.pictures.media_types import MediaType
from shared.pictures.purposes import Purpose

START_SECONDS = 30.0
"""How long a worker may take to start."""

RENDER_SECONDS = 60.0
"""How long a worker may keep its reader waiting, altogether. Its CPU is limited too."""

MAX_CONTENT_BYTES = 512 << 20
"""Most bytes of a picture that is encoded again, and of a thumbnail."""

MAX_THUMBNAIL_BYTES = 16 << 20

READY = b"ready\n"
"""The first line of a worker."""

_MAX_LINE_BYTES = 4096

_READ_BYTES = 64 << 10

A = TypeVar("A")
R = TypeVar("R")

_log = structlog.get_logger(__name__)


class Refused(Exception):
    """The picture can't be rendered: it is broken or hostile, or exceeds a limit. All other failures are Unavailable: a
    retry may find a machine with more time and memory."""


class Response(msgspec.Struct):
    """The first line of a worker's answer. `size` bytes of the picture follow, and those of each thumbnail."""

    refused: str = ""
    width: Annotated[int, msgspec.Meta(ge=0, le=1 << 31)] = 0
    height: Annotated[int, msgspec.Meta(ge=0, le=1 << 31)] = 0
    media_type: MediaType = "image/jpeg"
    thumbhash: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_CONTENT_BYTES)] = 0
    thumbnails: Annotated[
        list[tuple[Literal[96, 240, 320, 512, 800, 1600], Annotated[int, msgspec.Meta(ge=1, le=MAX_THUMBNAIL_BYTES)]]],
        msgspec.Meta(max_length=3),
    ] = []


decode_answer = msgspec.json.Decoder(Response).decode


class Worker:
    """A worker that is ready for its picture. Made by `open_worker`."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._input = cast(trio.abc.SendStream, process.stdin)
        self._output = cast(trio.abc.ReceiveStream, process.stdout)
        self._ahead = b""
        self._patience = RENDER_SECONDS

    async def send(self, chunk: bytes) -> None:
        """Send bytes of the picture. Raises Refused and Unavailable."""
        try:
            await self._patiently(self._input.send_all, chunk)
        except trio.BrokenResourceError:
            raise await self._death() from None

    async def answer(self) -> Response:
        """End the picture, and return the answer. Raises Refused and Unavailable."""
        await self._input.aclose()
        try:
            answer = decode_answer(await self.line())
        except msgspec.MsgspecError as error:
            raise Refused(f"the worker answered something else: {error}") from None
        if answer.refused:
            raise Refused(answer.refused)
        return answer

    async def line(self) -> bytes:
        """Return a line. Raises Refused, also if the line has no end, and Unavailable."""
        line = b""
        while not line.endswith(b"\n"):
            if len(line) > _MAX_LINE_BYTES:
                raise Refused("the worker wrote an endless line")
            more, newline, self._ahead = (await self.some(_READ_BYTES)).partition(b"\n")
            line += more + newline
        return line

    async def some(self, limit: int) -> bytes:
        """Return the next bytes, at least one. Raises Refused if the worker ends before, and Unavailable."""
        ahead = self._ahead or bytes(await self._patiently(self._output.receive_some, _READ_BYTES))
        if not ahead:
            raise await self._death()
        self._ahead = ahead[limit:]
        return ahead[:limit]

    async def exactly(self, size: int) -> bytes:
        """Return the next bytes. Raises Refused if the worker ends before, and Unavailable."""
        content = bytearray()
        while len(content) < size:
            content += await self.some(size - len(content))
        return bytes(content)

    async def _death(self) -> Refused | Unavailable:
        """Return why the worker has ended: it was killed, as the kernel does without memory, or by its picture."""
        returncode = await self._patiently(trio.Process.wait, self.process)
        if returncode == -signal.SIGKILL:
            return Unavailable("the process for a picture was killed")
        return Refused(f"the worker died ({returncode})")

    async def _patiently(self, operation: Callable[[A], Awaitable[R]], argument: A) -> R:
        """Wait for the worker. Raises Unavailable if that takes too long, together with all earlier waits."""
        start = trio.current_time()
        with trio.move_on_after(self._patience):
            result = await operation(argument)
            self._patience -= trio.current_time() - start
            return result
        raise Unavailable(f"a picture took more than {RENDER_SECONDS:.0f} s")


@asynccontextmanager
async def open_worker(media_type: MediaType, purpose: Purpose) -> AsyncIterator[Worker]:
    """Start a worker, and kill it in the end. Raises Unavailable."""
    command = [sys.executable, "-I", "-m", "shared.pictures.worker", media_type, purpose]
    try:
        process = await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd="/", env={})
    except OSError as error:
        raise Unavailable(f"no process for a picture: {error}") from error
    worker = Worker(process)
    try:
        await _started(worker)
        yield worker
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    await stream.aclose()


async def _started(worker: Worker) -> None:
    """Wait until the worker is ready. Raises Unavailable."""
    with trio.move_on_after(START_SECONDS):
        try:
            if await worker.line() == READY:
                return
        except Refused:
            _log.error("picture_worker_not_started", returncode=await worker.process.wait())
    raise Unavailable("the process for a picture did not start")
