"""The previewer of a gateway: requests pages from a worker process, scales their pictures down, caches the results."""

import sys
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from subprocess import DEVNULL, PIPE
from typing import Protocol, cast

import httpx
import msgspec
import structlog
import trio

from messaging.previews.hosts import Hosts
from messaging.previews.metadata import MAX_DESCRIPTION, MAX_SITE_NAME, MAX_TITLE, clean
from messaging.previews.protocol import Lines, PageRequest, PageResponse, Setup
from rookery.v1.session_pb2 import LinkPreview
from shared.background import open_background
from shared.contract.errors import Unavailable
from shared.pictures.renditions import Pictures, Preview
from shared.settings import PreviewsSettings

WAIT_SECONDS = 10.0
"""Seconds for the worker, which takes 5 for a page: a worker that takes longer is killed."""

MAX_CACHED = 1_000
"""Results that are kept: about 10 MB."""

CACHE_SECONDS = 3_600.0
"""How long a preview is kept."""

FAILURE_SECONDS = 300.0
"""How long a URL without a preview is not requested again."""

READ_BYTES = 64 << 10

_log = structlog.get_logger(__name__)


class _PictureResizer(Protocol):
    """Scales pictures down."""

    async def make_preview(self, content: bytes) -> Preview | None: ...


@dataclass(slots=True)
class _PendingRequest:
    """A page that is requested from the worker."""

    found: PageResponse | None = None
    is_answered: trio.Event = field(default_factory=trio.Event)


class Worker:
    """A running worker."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.is_dead = False
        self._input = cast(trio.abc.SendStream, process.stdin)
        self._output = cast(trio.abc.ReceiveStream, process.stdout)
        self._numbers = count(1)
        self._pending: dict[int, _PendingRequest] = {}
        self._turn = trio.Lock()

    async def page(self, url: str) -> PageResponse | None:
        """Request a page; None if the worker ends, or does not answer in time."""
        number, pending = next(self._numbers), _PendingRequest()
        self._pending[number] = pending
        try:
            with trio.move_on_after(WAIT_SECONDS) as scope:
                await self.send(PageRequest(number, url))
                await pending.is_answered.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        finally:
            del self._pending[number]
        if scope.cancelled_caught:
            _log.warning("preview_worker_timed_out")
            self.process.kill()
        return pending.found

    async def send(self, line: Setup | PageRequest) -> None:
        async with self._turn:
            with trio.CancelScope(shield=True):  # half a line would spoil the next one; the pipe holds a few
                await self._input.send_all(msgspec.json.encode(line) + b"\n")

    async def run(self) -> None:
        """Read answers until the worker ends, and kill it when this is cancelled."""
        lines = Lines()
        try:
            while data := await self._output.receive_some(READ_BYTES):
                for line in lines.receive(bytes(data)):
                    found = msgspec.json.decode(line, type=PageResponse)
                    if pending := self._pending.get(found.number):
                        pending.found = found
                        pending.is_answered.set()
            _log.warning("preview_worker_ended")
        except (ValueError, msgspec.MsgspecError, trio.BrokenResourceError) as error:
            _log.warning("preview_worker_protocol_error", reason=f"{type(error).__name__}: {error}"[:200])
        finally:
            self.is_dead = True
            self.process.kill()
            for pending in self._pending.values():
                pending.is_answered.set()
            with trio.CancelScope(shield=True):
                await self.process.wait()
                await self._input.aclose()
                await self._output.aclose()


class Previewer:
    """Makes previews of links. Made by `open_previewer`."""

    def __init__(self, settings: PreviewsSettings, nursery: trio.Nursery, pictures: _PictureResizer) -> None:
        proxy = settings.proxy.get_secret_value()
        self._setup = Setup(proxy, [str(network) for network in settings.allowed_networks])
        self._nursery = nursery
        self._pictures = pictures
        self._worker: Worker | None = None
        self._starting = trio.Lock()
        self._cache: OrderedDict[str, tuple[float, LinkPreview | None]] = OrderedDict()  # with the time of its end
        self._under_way: dict[str, trio.Event] = {}
        self._hosts = Hosts()

    async def fetch(self, url: str) -> LinkPreview | None:
        """Return the preview of a page; None if it has none, does not answer within seconds, or if its host has had too
        many requests. One that was made before is returned at once."""
        while (other := self._under_way.get(url)) is not None:
            await other.wait()
        if (cached := self._cache.get(url)) and cached[0] > trio.current_time():
            return cached[1]
        if not self._may_ask(url):
            return None
        done = self._under_way[url] = trio.Event()
        try:
            preview = await self._make(url)
            self._keep(url, preview)
        finally:
            del self._under_way[url]
            done.set()
        return preview

    async def _make(self, url: str) -> LinkPreview | None:
        try:
            worker = await self._running()
        except (OSError, trio.BrokenResourceError) as error:
            _log.error("preview_worker_not_started", reason=f"{type(error).__name__}: {error}")
            return None
        found = await worker.page(url)
        if found is None:
            return None
        preview = LinkPreview(
            url=url,
            title=clean(found.title, MAX_TITLE),
            description=clean(found.description, MAX_DESCRIPTION),
            site_name=clean(found.site_name, MAX_SITE_NAME),
        )
        try:
            picture = await self._pictures.make_preview(found.picture) if found.picture else None
        except Unavailable:
            picture = None
        if picture is not None:
            preview.picture, preview.picture_width = picture.content, picture.width
            preview.picture_height = picture.height
        return preview if preview.title or preview.picture else None

    async def _running(self) -> Worker:
        """The worker; a new one if there is none any more. Raises OSError and trio.BrokenResourceError if that can't be
        started."""
        async with self._starting:
            if self._worker is None or self._worker.is_dead:
                command = [sys.executable, "-I", "-m", "messaging.previews.worker"]
                process = await trio.lowlevel.open_process(
                    command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd="/", env={}
                )
                self._worker = Worker(process)
                self._nursery.start_soon(self._worker.run)
                await self._worker.send(self._setup)
            return self._worker

    def _keep(self, url: str, preview: LinkPreview | None) -> None:
        seconds = FAILURE_SECONDS if preview is None else CACHE_SECONDS
        self._cache[url] = trio.current_time() + seconds, preview
        self._cache.move_to_end(url)
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)

    def _may_ask(self, url: str) -> bool:
        """Whether the host of a URL has had few requests; then count one more. The worker counts the hosts to which
        pages lead."""
        try:
            return self._hosts.take(httpx.URL(url).host)
        except (httpx.InvalidURL, ValueError):
            return False


@asynccontextmanager
async def open_previewer(
    settings: PreviewsSettings, pictures: _PictureResizer | None = None
) -> AsyncIterator[Previewer]:
    """Open a previewer. It starts its process with the first page, and again whenever it has ended."""
    async with open_background() as nursery:
        yield Previewer(settings, nursery, pictures or Pictures())
