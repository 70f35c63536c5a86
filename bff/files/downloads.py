"""Links of files, their downloads, and the files of a chat."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import zip_longest
from weakref import WeakValueDictionary

import structlog
import trio
from quart import Quart, request
from quart import Response as HttpResponse
from quart_schema import hide
from werkzeug.exceptions import NotFound

from bff.files.links import FileLink, FileLinks
from bff.files.models import ChatFilesQuery, Link, Links, WantedFiles
from bff.files.reported import ReportedFiles
from bff.files.served import Served, asked_for, has_rendition, headers_of, is_for_all, served
from bff.http.endpoints import Response, at_end, endpoint, in_time, open_until_end, parse_id
from bff.http.problems import problem
from bff.http.server import mark_authenticated
from bff.services import Services
from rookery.v1.archive_pb2 import (
    FILE_CLASS_LINKS,
    FILE_CLASS_MEDIA,
    FILE_CLASS_OTHER,
    FILE_STATE_COMPLETE,
    GetFilesRequest,
    ListChatFilesRequest,
    ListChatFilesResponse,
    StoredFile,
)
from rookery.v1.files_pb2 import FileRef
from shared.accounts.tokens import Claims
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import MAX_AHEAD_MS, time_of
from shared.contract.wire import to_object
from shared.files import protocol as files
from shared.files.keys import file_key
from shared.net.turns import FILES
from shared.unknown_chats import UnknownChatLimit

YOUNG_MS = 30_000
"""Age of a message up to which it may not be recorded yet, although its readers have received it."""

PAUSES = (0.1, 0.2, 0.4, 0.8, 1.5)
"""Seconds before a file of a young message is looked up again: 3 in all."""

MAX_MESSAGES_OF_FILE = 10
"""Messages in which one file is requested at once: each takes a query of the archive, whose response names files."""

MAX_DOWNLOADS = 16
"""Downloads of one user at once, in one process: each may hold a connection to the object store for a slow reader."""

MAX_WAITING = 100
"""Downloads of one user that wait until others end, for as long as their requests may take. They hold no connection to
the object store. A browser opens 6 connections to this server, but a proxy with HTTP/2 takes its requests for all
pictures of a view at once."""

REDIRECT_SECONDS = 60
"""Life of the object store's own link: after losing access, a user can still start a download for this long."""

CHECK_SECONDS = 60.0
"""Time after which a download that is under way checks again that the user may read the file."""

CHECK_DEADLINE = 5.0
"""Time for such a check. A download goes on while nobody answers."""

Reading = tuple[int, str, int]
"""A file, and the chat and message in which the user reads it."""

_CLASSES = {"media": FILE_CLASS_MEDIA, "other": FILE_CLASS_OTHER, "links": FILE_CLASS_LINKS}

_ENDS = (Code.NOT_FOUND, Code.OUT_OF_ORDER)
"""Codes of refusals by which a link of a report has ended: the report is closed, or the message lost the file."""

_log = structlog.get_logger(__name__)


class CutOff(Exception):
    """The bytes ended before the response did. The connection is closed, so that the client detects it."""


class Ended(NotFound):
    """The link does not lead to a file, or no longer."""

    description = "This link has expired, or the file is gone."


class Downloads:
    """Links of files, their downloads, and the files of a chat."""

    def __init__(self, services: Services, chat_limit: UnknownChatLimit, reported: ReportedFiles) -> None:
        self._services = services
        self._chat_limit = chat_limit
        self._reported = reported
        self._links = FileLinks(services.issuer.keys, services.clock_ms)
        self._places: WeakValueDictionary[int, trio.Semaphore] = WeakValueDictionary()
        """By the user, as long as a download waits or is under way."""

    @endpoint("POST", "/v1/files/links", Links)
    async def make_links(self, claims: Claims, body: WantedFiles) -> Response | Refusal:
        """Links of files that the user may read."""
        if refusal := _check(body) or self._chat_limit.check(claims.user_id):
            return refusal
        expires_at = self._links.expiry(claims.user_id)
        links = [
            FileLink(
                wanted.file_id,
                claims.user_id,
                claims.family_id,
                expires_at,
                wanted.chat_id,
                wanted.message_id,
                wanted.rendition,
                is_download=wanted.download,
            )
            for wanted in body.files
        ]
        found = await self._find(links)
        if isinstance(found, Refusal):
            return found
        for _ in found.unknown_chats:
            self._chat_limit.count(claims.user_id)
        signed = [await self._signed(link, found.readable.get(_reading(link))) for link in links]
        not_recorded = [at for at, link in enumerate(links) if _reading(link) in found.not_recorded]
        return Response(Links(links=signed, not_recorded=not_recorded))

    @endpoint("GET", "/v1/chats/<chat_id>/files", ListChatFilesResponse)
    async def list_chat_files(self, claims: Claims, chat_id: str, query: ChatFilesQuery) -> Response | Refusal:
        """The messages of a chat that have files, or links in the text that was sent, the newest first."""
        listed = ListChatFilesRequest(
            user_id=claims.user_id,
            chat_id=chat_id,
            before_id=query.before,
            limit=query.limit or self._services.live.value.messages_page_size,
            file_class=_CLASSES[query.file_class],
        )
        response = await self._chat_limit.call(claims.user_id, self._services.archive.list_chat_files, listed)
        if isinstance(response, Refusal):
            return response
        return Response({"messages": [], "has_older": False, **to_object(response)})

    def mount(self, app: Quart) -> None:
        """Add the route of the links. It is not in the description of the API, since clients do not make its URLs."""

        async def download(file_id: str, name: str) -> HttpResponse:
            return await in_time(self._download(file_id))

        app.add_url_rule("/files/<file_id>/<name>", "download", hide(download), methods=["GET"])

    async def _download(self, file_id: str) -> HttpResponse:
        """The response to a request for the file by a link."""
        number = parse_id("file_id", file_id)
        link = None if isinstance(number, Refusal) else await self._links.verify(number, request.query_string)
        if link is None or not await self._is_signed_in(link):
            raise Ended
        mark_authenticated(request.scope, link.user_id)
        stored = await self._read(link)
        if isinstance(stored, Refusal):
            return problem(stored)
        if stored is None or not has_rendition(stored.file, link.rendition):
            raise Ended
        file = served(stored.file, link.rendition, is_download=link.is_download)
        key = file_key(link.file_id, link.rendition or stored.rendition)
        if self._may_redirect(link) and (url := self._store_url(key, file)):
            headers = {"Location": url, "Cache-Control": f"private, max-age={REDIRECT_SECONDS // 2}"}
            return HttpResponse(b"", HTTPStatus.TEMPORARY_REDIRECT, headers)
        return await self._send(link, key, file)

    async def _send(self, link: FileLink, key: str, file: Served) -> HttpResponse:
        """The response with the bytes that the request asks for, from the file store.

        The usual request for all bytes needs one request to the store, whose answer has their number."""
        opened = await self._open(link.user_id, key) if is_for_all(request.method, request.headers) else None
        if isinstance(opened, Refusal):
            return problem(opened)
        size = opened.size if opened else await self._services.files.size(key)
        if size is None:
            raise Ended
        asked = asked_for(request.method, request.headers, file.etag, size)
        headers = headers_of(file, max(link.expires_at - self._services.clock_ms() // 1000, 0))
        if link.report_id or asked.status >= HTTPStatus.BAD_REQUEST:
            headers["Cache-Control"] = "no-store"
        if asked.status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            headers["Content-Range"] = f"bytes */{size}"
        if asked.status is HTTPStatus.PARTIAL_CONTENT:
            headers["Content-Range"] = f"bytes {asked.start}-{asked.end - 1}/{size}"
        if request.method == "GET" and asked.start < asked.end and not opened:
            opened = await self._open(link.user_id, key, asked.start, asked.end)
            if isinstance(opened, Refusal):
                return problem(opened)
        response = HttpResponse(self._paced(link, opened) if opened else b"", asked.status, headers)
        if asked.status is not HTTPStatus.NOT_MODIFIED:
            response.content_length = asked.end - asked.start
        return response

    async def _open(self, user_id: int, key: str, start: int = 0, end: int | None = None) -> files.Opened | Refusal:
        """Open bytes for a download of the user until the request ends, whether they are sent or not: before the head
        of the response, so that its status is right. Raises Ended, and Unavailable."""
        if not await self._begin(user_id):
            message = f"At most {MAX_DOWNLOADS} downloads of a user at once, and {MAX_WAITING} that wait."
            return Refusal(Code.RATE_LIMITED, message)
        try:
            return await open_until_end(self._services.files.read(key, start, end))
        except files.NotFound:
            raise Ended from None

    async def _begin(self, user_id: int) -> bool:
        """Wait for a place among the downloads of the user, and keep it until the request ends. False if too many wait
        already."""
        places = self._places.get(user_id)
        if places is None:
            places = self._places[user_id] = trio.Semaphore(MAX_DOWNLOADS)
        if not places.value and places.statistics().tasks_waiting >= MAX_WAITING:
            return False
        await places.acquire()
        at_end(places.release)  # no checkpoint since: a cancellation leaves no place taken
        return True

    async def _paced(self, link: FileLink, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Yield each chunk in the turn of files. Raises CutOff if they end early, or if the user may not read the file
        any more."""
        checked = trio.current_time()
        try:
            async for chunk in chunks:
                if trio.current_time() >= checked + CHECK_SECONDS:
                    if await self._has_ended(link):
                        raise CutOff
                    checked = trio.current_time()
                await FILES.take_piece()
                yield chunk
        except (files.NotFound, Unavailable) as error:
            _log.warning("download_cut_off", reason=str(error))
            raise CutOff from error

    async def _has_ended(self, link: FileLink) -> bool:
        """Whether the user may not read the file any more; False if that can't be found out now."""
        with trio.move_on_after(CHECK_DEADLINE), suppress(Unavailable):
            return not await self._is_signed_in(link) or await self._read(link) is None
        return False

    async def _read(self, link: FileLink) -> StoredFile | Refusal | None:
        """The complete file of the link, if its user may read it now."""
        if link.report_id:
            stored = await self._reported.read(link)
            return None if isinstance(stored, Refusal) and stored.code in _ENDS else stored
        found = await self._find([link])
        return found if isinstance(found, Refusal) else found.readable.get(_reading(link))

    async def _find(self, links: Sequence[FileLink]) -> "_Found | Refusal":
        """The complete files of these links of one user that the user may read now where the link states.

        A message that was sent just now may not be recorded yet: its files are looked up again."""
        found = _Found()
        pauses = iter(PAUSES)
        while True:
            for readings in _queries(links):
                refs = [
                    FileRef(file_id=file_id, chat_id=chat_id, message_id=message_id)
                    for file_id, chat_id, message_id in readings
                ]
                response = await self._services.archive.get_files(GetFilesRequest(user_id=links[0].user_id, files=refs))
                if isinstance(response, Refusal):
                    return response
                complete = {each.file.file_id: each for each in response.files if each.state == FILE_STATE_COMPLETE}
                found.readable |= {each: complete[each[0]] for each in readings if each[0] in complete}
                found.not_recorded -= set(readings)
                found.not_recorded |= {(ref.file_id, ref.chat_id, ref.message_id) for ref in response.not_recorded}
                found.unknown_chats.update(response.unknown_chat_ids)
            links = [link for link in links if _reading(link) not in found.readable and self._is_young(link.message_id)]
            pause = next(pauses, None)
            if not links or pause is None:
                return found
            await trio.sleep(pause)

    def _is_young(self, message_id: int) -> bool:
        age_ms = self._services.clock_ms() - time_of(message_id)
        return message_id > 0 and -MAX_AHEAD_MS <= age_ms < YOUNG_MS

    async def _signed(self, link: FileLink, stored: StoredFile | None) -> Link | None:
        """The link, signed; None if there is no such file or rendition."""
        if stored is None or not has_rendition(stored.file, link.rendition):
            return None
        return await self._links.sign(link, stored.file)

    async def _is_signed_in(self, link: FileLink) -> bool:
        """Whether the sign-in for which the link was made has not ended, and its user is not suspended, and still an
        admin if the link is of a report."""
        status = await self._services.accounts.sign_in_status(link.sign_in_id, link.user_id)
        return status is not None and not status.is_suspended and (status.is_admin or not link.report_id)

    def _may_redirect(self, link: FileLink) -> bool:
        """Whether the object store may send the file: not thumbnails, which are small, and not files of reports, which
        end at once in any case."""
        return request.method == "GET" and not link.rendition and not link.report_id

    def _store_url(self, key: str, file: Served) -> str | None:
        """The object store's own link, if the operator wants clients to download there."""
        return self._services.files.signed_url(
            key, REDIRECT_SECONDS, disposition=file.disposition, media_type=file.media_type
        )


@dataclass(slots=True)
class _Found:
    """The files that a user may read; the readings that may succeed later, since their messages may not be recorded
    yet; and the chats that are not the user's."""

    readable: dict[Reading, StoredFile] = field(default_factory=dict)
    not_recorded: set[Reading] = field(default_factory=set)
    unknown_chats: set[str] = field(default_factory=set)


def _check(body: WantedFiles) -> Refusal | None:
    """The refusal of an incomplete message, or of too many messages of one file: each is a query of its own."""
    messages: dict[int, set[tuple[str, int]]] = {}
    for at, wanted in enumerate(body.files):
        if bool(wanted.chat_id) != bool(wanted.message_id):
            missing = "message_id" if wanted.chat_id else "chat_id"
            message = "Give both `chat_id` and `message_id`, or neither."
            return Refusal(Code.INVALID, message, field=f"files[{at}].{missing}")
        of_file = messages.setdefault(wanted.file_id, set())
        of_file.add((wanted.chat_id, wanted.message_id))
        if len(of_file) > MAX_MESSAGES_OF_FILE:
            message = f"At most {MAX_MESSAGES_OF_FILE} messages of one file in a request."
            return Refusal(Code.INVALID, message, field=f"files[{at}].file_id")
    return None


def _reading(link: FileLink) -> Reading:
    return link.file_id, link.chat_id, link.message_id


def _queries(links: Sequence[FileLink]) -> Iterator[Sequence[Reading]]:
    """Yield the readings of the links in groups, each for one query. A group has each file once, since the response of
    the archive names the files, and no messages."""
    by_file: dict[int, dict[Reading, None]] = {}
    for link in links:
        by_file.setdefault(link.file_id, {})[_reading(link)] = None
    for readings in zip_longest(*by_file.values()):
        yield [reading for reading in readings if reading]
