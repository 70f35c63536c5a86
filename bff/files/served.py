"""How a file is sent: its headers, and which of its bytes a request asks for. Sans-I/O."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePosixPath
from urllib.parse import quote

from werkzeug.datastructures import Headers
from werkzeug.http import parse_etags

from rookery.v1.files_pb2 import FileInfo

SHOWN_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif")
"""Media types of pictures that browsers show in place. SVG is not one of them, since it may have scripts."""

THUMBNAIL_TYPE = "image/webp"

OTHER_TYPE = "application/octet-stream"

POLICY = (
    "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
)
"""No file runs scripts. The styles and the sources are needed by the documents that browsers make around a picture or a
video which is opened alone."""

_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+")

_ACTIVE = re.compile(r"html|xml|svg|script|flash|xsl|java")
"""In the media types of files that browsers or their plug-ins run or interpret."""

_RANGE = re.compile(r"bytes=(?:(?P<first>\d{1,19})-(?P<last>\d{0,19})|-(?P<count>\d{1,19}))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Served:
    """A file, or a thumbnail of it, as it is sent."""

    name: str
    media_type: str
    etag: str
    is_inline: bool
    """Whether a browser that opens it alone shows it in place, and does not save it."""

    @property
    def disposition(self) -> str:
        """The value of Content-Disposition (RFC 6266): the name in ASCII and, if that differs, in UTF-8."""
        kind = "inline" if self.is_inline else "attachment"
        ascii_name = re.sub(r'[^ -~]|["\\%]', "_", self.name)
        encoded = "" if ascii_name == self.name else f"; filename*=UTF-8''{quote(self.name, safe='')}"
        return f'{kind}; filename="{ascii_name}"{encoded}'


def served(file: FileInfo, rendition: str = "", *, is_download: bool = False) -> Served:
    """Return how the file, or its thumbnail of this name, is sent."""
    if rendition:
        name = f"{PurePosixPath(file.name).stem}-{rendition}.webp"
        return Served(name, THUMBNAIL_TYPE, f"{file.file_id}-{rendition}", not is_download)
    return Served(file.name, _sent_type(file.media_type), str(file.file_id), not is_download and _is_shown(file))


def has_rendition(file: FileInfo, rendition: str) -> bool:
    """Whether the file has a thumbnail of this name; the empty name is the file itself."""
    return not rendition or rendition in map(str, file.thumbnails)


def headers_of(file: Served, max_age: int) -> dict[str, str]:
    """Return the headers of a response with the file, which browsers keep for some seconds."""
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={max_age}",
        "Content-Disposition": file.disposition,
        "Content-Security-Policy": POLICY,
        "Content-Type": file.media_type,
        "ETag": f'"{file.etag}"',
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """The status of the response, and the bytes that it has: from `start` to before `end`."""

    status: HTTPStatus
    start: int = 0
    end: int = 0


def is_for_all(method: str, headers: Headers) -> bool:
    """Whether a request asks for all bytes, without a range or a condition, so that its answer needs no size before."""
    return method == "GET" and not any(name in headers for name in ("If-Match", "If-None-Match", "Range"))


def asked_for(method: str, headers: Headers, etag: str, size: int) -> Asked:
    """Return the status and the bytes for a request with these headers (RFC 9110, sections 13 and 14). The file never
    changes.

    A range that is malformed, and several ranges at once, are ignored: the response is the whole file."""
    if "If-Match" in headers and not parse_etags(headers["If-Match"]).contains(etag):
        return Asked(HTTPStatus.PRECONDITION_FAILED)
    if "If-None-Match" in headers and parse_etags(headers["If-None-Match"]).contains_weak(etag):
        return Asked(HTTPStatus.NOT_MODIFIED)
    found = _RANGE.fullmatch(headers.get("Range", "")) if method == "GET" else None
    if found is None or headers.get("If-Range", f'"{etag}"') != f'"{etag}"':
        return Asked(HTTPStatus.OK, 0, size)
    if found["count"] is not None:
        start, end = max(size - int(found["count"]), 0), size
    else:
        start, end = int(found["first"]), min(int(found["last"] or size) + 1, size)
        if found["last"] and int(found["last"]) < start:
            return Asked(HTTPStatus.OK, 0, size)
    if start >= end:
        return Asked(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return Asked(HTTPStatus.PARTIAL_CONTENT, start, end)


def _is_shown(file: FileInfo) -> bool:
    """Whether browsers show it in place: a picture only if the server could decode it."""
    if file.media_type in SHOWN_PICTURES:
        return file.width > 0
    return file.media_type == "application/pdf" or file.media_type.startswith(("audio/", "video/"))


def _sent_type(media_type: str) -> str:
    """Return the media type to send. A type that could run in a browser is sent as OTHER_TYPE."""
    if not _TYPE.fullmatch(media_type) or _ACTIVE.search(media_type):
        return OTHER_TYPE
    return f"{media_type}; charset=utf-8" if media_type == "text/plain" else media_type
