"""Fetches a page and its picture within limits of time and size. Runs in the worker."""

import ssl
import zlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

import h11
import httpx
import trio

from messaging.previews.connections import Connection, Connector, Refused
from messaging.previews.metadata import MAX_TITLE, Metadata, clean, decoded, metadata_of

TOTAL_SECONDS = 5.0
"""Seconds for a page with its picture. A picture that comes later is left out."""

MAX_REDIRECTS = 3

MAX_PAGE_BYTES = 512 << 10
"""Decompressed bytes of a page that are read: its head is among them, or the page has no preview."""

MAX_PICTURE_BYTES = 5 << 20

PICTURE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif")

PAGE_TYPES = ("text/html", "application/xhtml+xml")

HEADERS = (
    ("User-Agent", "Rookery link preview"),
    ("Accept", "text/html, image/*"),
    ("Accept-Encoding", "gzip"),
    ("Connection", "close"),
)

_REDIRECTS = (301, 302, 303, 307, 308)

_HEAD_END = b"</head"

_FAILURES = (
    *(Refused, OSError, ssl.SSLError, ValueError, httpx.InvalidURL, h11.ProtocolError),
    *(trio.BrokenResourceError, trio.ClosedResourceError),
)
"""The exceptions of a page that can't be fetched, which then has no preview."""


class Page(NamedTuple):
    """A page that was fetched, and its picture: any bytes, of which their server states that they are one."""

    metadata: Metadata
    picture: bytes = b""


class _Response(NamedTuple):
    url: httpx.URL
    media_type: str
    content_type: str
    body: bytes


async def fetch(url: str, connector: Connector) -> Page | None:
    """Return the page behind a URL; None if it has nothing to show, can't be fetched, or takes too long."""
    page: Page | None = None
    with trio.move_on_after(TOTAL_SECONDS):
        try:
            response = await _get(connector.checked(url), connector, PAGE_TYPES + PICTURE_TYPES)
            if response.media_type in PICTURE_TYPES:
                name = response.url.path.rsplit("/", 1)[-1]
                return Page(Metadata(title=clean(name, MAX_TITLE)), response.body)
            metadata = metadata_of(decoded(response.body, response.content_type))
            if not metadata.title:
                return None
            page = Page(metadata)
            if metadata.picture:
                picture_url = connector.followed(response.url, metadata.picture)
                picture = await _get(picture_url, connector, PICTURE_TYPES)
                page = Page(metadata, picture.body)
        except _FAILURES:
            pass
    return page


async def _get(target: httpx.URL, connector: Connector, media_types: Collection[str]) -> _Response:
    """Return the response behind a checked URL and its redirects. Raises Refused, and the errors of a connection."""
    for _ in range(1 + MAX_REDIRECTS):
        connection = await connector.connect(target)
        try:
            head = await connection.request(target, HEADERS)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            if head.status_code in _REDIRECTS and "location" in headers:
                target = connector.followed(target, headers["location"])
                continue
            if head.status_code != 200:
                raise Refused(f"status {head.status_code}")
            content_type = headers.get("content-type", "")
            media_type = content_type.partition(";")[0].strip().lower()
            if media_type not in media_types:
                raise Refused(f"the media type {media_type}")
            body = await _body(connection, headers, is_page=media_type in PAGE_TYPES)
            return _Response(target, media_type, content_type, body)
        finally:
            await trio.aclose_forcefully(connection.stream)
    raise Refused(f"more than {MAX_REDIRECTS} redirects")


async def _body(connection: Connection, headers: Mapping[str, str], *, is_page: bool) -> bytes:
    """Return the body, decompressed: of a page, up to the end of its head or the limit. Raises Refused for a picture
    above its limit."""
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise Refused(f"the encoding {encoding}")
    inflate = zlib.decompressobj(31) if encoding == "gzip" else None
    limit = MAX_PAGE_BYTES if is_page else MAX_PICTURE_BYTES
    body = bytearray()
    while chunk := await connection.chunk():
        start = max(len(body) - len(_HEAD_END), 0)
        try:
            body += inflate.decompress(chunk, limit + 1 - len(body)) if inflate else chunk
        except zlib.error as error:
            raise Refused(f"no gzip: {error}") from error
        if len(body) > limit and not is_page:
            raise Refused(f"more than {limit} bytes")
        if len(body) > limit or (is_page and _HEAD_END in body[start:]):
            break
    return bytes(body[:limit])
