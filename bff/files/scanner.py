"""Scans files for viruses before they can be read: asks a ClamAV daemon, by its command INSTREAM.

The daemon neither encrypts nor authenticates its clients, so it belongs on the same machine, or in a trusted network.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio

from shared.contract.errors import Unavailable
from shared.settings import FilesSettings

MAX_ANSWER_BYTES = 1024

_FOUND = re.compile(r"stream: (.+) FOUND")


class ScannerAway(Unavailable):
    """The daemon does not answer, or can't scan this content."""


class Scanner:
    """A ClamAV daemon, to which each scan is a connection."""

    def __init__(self, address: str, seconds: float) -> None:
        """`address` is HOST:PORT, or the path of a socket; a scan may take so many seconds."""
        self._address = address
        self._seconds = seconds

    async def scan(self, content: AsyncIterator[bytes]) -> str:
        """Return the name of the virus in the content; empty without one. Raises ScannerAway."""
        answer = await self._ask(partial(_send, content))
        if answer == "stream: OK":
            return ""
        match = _FOUND.fullmatch(answer)
        if match is None:
            raise ScannerAway(f"the virus scanner can't scan a file: {answer or 'it closed the connection'}")
        return match[1]

    async def check(self) -> None:
        """Raise ScannerAway unless the daemon answers."""
        answer = await self._ask(lambda stream: stream.send_all(b"zPING\0"))
        if answer != "PONG":
            raise ScannerAway(f"this is no virus scanner: {answer!r}")

    async def _ask(self, send: Callable[[trio.SocketStream], Awaitable[None]]) -> str:
        """Send a command on a new connection, and return the answer. Raises ScannerAway."""
        try:
            with trio.fail_after(self._seconds):
                async with await self._connect() as stream:
                    with suppress(trio.BrokenResourceError):  # it has answered already: its limit of bytes is reached
                        await send(stream)
                    return await _answer(stream)
        except trio.TooSlowError:
            raise ScannerAway(f"the virus scanner has not answered in {self._seconds:g} s") from None
        except (OSError, trio.BrokenResourceError) as error:
            raise ScannerAway(f"the virus scanner at {self._address} can't be used: {error}") from error

    async def _connect(self) -> trio.SocketStream:
        if self._address.startswith("/"):
            return await trio.open_unix_socket(self._address)
        host, _, port = self._address.rpartition(":")
        return await trio.open_tcp_stream(host.strip("[]"), int(port))


async def _send(content: AsyncIterator[bytes], stream: trio.SocketStream) -> None:
    """Send the content in chunks with their sizes, and an empty one at the end."""
    await stream.send_all(b"zINSTREAM\0")
    async for chunk in content:
        await stream.send_all(len(chunk).to_bytes(4, "big"))
        await stream.send_all(chunk)
    await stream.send_all(bytes(4))


async def _answer(stream: trio.SocketStream) -> str:
    answer = b""
    while not answer.endswith(b"\0") and len(answer) < MAX_ANSWER_BYTES:
        received = await stream.receive_some(MAX_ANSWER_BYTES)
        if not received:
            break
        answer += received
    return answer.rstrip(b"\0").decode(errors="replace")


def scanner_of(settings: FilesSettings) -> Scanner | None:
    """Return the scanner of the settings, if there is one."""
    return Scanner(settings.scanner, settings.scanner_seconds) if settings.scanner else None
