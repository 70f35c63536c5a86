"""Clients of a load who upload a file and download it, again and again."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

from rookery.client import Api, Files, Refused, RookeryError
from rookery.client.http import TIMEOUT
from rookery.client.trust import client_tls
from rookery.load.process import difference, resident_bytes, total

CHUNK = bytes(range(256)) * 1024
"""256 KiB of the content of the files."""

SAMPLE_SECONDS = 0.1
"""Seconds between two readings of the servers' memory."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """The transfers of the clients in the measured seconds."""

    uploaded_per_second: float
    """Bytes, also of unfinished files."""
    downloaded_per_second: float
    failures: dict[str, int]
    """Uploads and downloads that failed, by the code of the refusal or the kind of the error."""
    server_memory_bytes: float | None
    """The largest growth of the servers' memory in this time; None without a known process, or if one has ended."""


class FileLoad:
    """Clients with one file each of `size` bytes."""

    def __init__(self, url: str, ca_file: Path | None, tokens: Sequence[str], size: int) -> None:
        self._url = url
        self._ca_file = ca_file
        self._tokens = tokens
        self._size = size
        self._uploaded = self._downloaded = 0
        self._failures = Counter[str]()
        self._report: FileReport | None = None
        self._reported = trio.Event()

    async def report(self) -> FileReport:
        """Wait for the end of the run, and return its report."""
        await self._reported.wait()
        assert self._report is not None  # noqa: S101 - for the type checker
        return self._report

    async def run(self, server_pids: Sequence[int], warm_up: float, seconds: float) -> None:
        """Upload and download for so many seconds, of which the report has the ones after the warm-up."""
        memory = most = total(resident_bytes, server_pids)
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(
                base_url=self._url, verify=client_tls(self._ca_file, "http/1.1"), timeout=TIMEOUT, limits=limits
            ) as http,
            trio.open_nursery() as nursery,
        ):
            for token in self._tokens:
                nursery.start_soon(self._use, Files(_SignedIn(http, token, self._ca_file)))
            await trio.sleep(warm_up)
            uploaded, downloaded = self._uploaded, self._downloaded
            self._failures.clear()
            until = trio.current_time() + seconds
            while trio.current_time() < until:
                now = total(resident_bytes, server_pids)
                most = None if now is None or most is None else max(most, now)
                await trio.sleep(min(SAMPLE_SECONDS, max(until - trio.current_time(), 0)))
            nursery.cancel_scope.cancel()
        self._report = FileReport(
            (self._uploaded - uploaded) / seconds,
            (self._downloaded - downloaded) / seconds,
            dict(self._failures),
            difference(most, memory),
        )
        self._reported.set()

    async def _use(self, files: Files) -> None:
        while True:
            try:
                await self._upload_and_download(files)
            except RookeryError as error:
                self._failures[error.code if isinstance(error, Refused) else type(error).__name__] += 1
                await trio.sleep(1)

    async def _upload_and_download(self, files: Files) -> None:
        done = 0

        def note(count: int) -> None:
            nonlocal done
            self._uploaded += count - done
            done = count

        async with aclosing(self._content()) as content:
            file = await files.upload(content, name="load", size=self._size, progress=note)
        async with files.download(file) as chunks:
            async for chunk in chunks:
                self._downloaded += len(chunk)

    async def _content(self) -> AsyncGenerator[bytes, None]:
        for start in range(0, self._size, len(CHUNK)):
            await trio.lowlevel.checkpoint()
            yield CHUNK[: self._size - start]


class _SignedIn(Api):
    """The API for a user with a token."""

    def __init__(self, http: httpx.AsyncClient, token: str, ca_file: Path | None) -> None:
        super().__init__(http, "", "", "", ca_file)
        self._token = token

    async def access_token(self, *, older_than: str = "") -> str:
        await trio.lowlevel.checkpoint()
        return self._token
