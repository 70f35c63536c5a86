"""The page: the files of `web/`, held in memory, and what tells a browser how far to trust them."""

import gzip
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quart import Response, request

from bff.gateways import websocket_origins
from bff.http.proxy_headers import hostname
from bff.services import Services

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""What is served: nothing with another ending."""

PAGE = "index.html"
"""What is served of a folder."""

MAX_FILE_BYTES = 2 * 1024 * 1024
"""Of a file, since all are held in memory; the whole page has under 100 KB, packed."""

_PATH = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""No hidden file, no `..`, nothing that a file system could read in another way."""


@dataclass(frozen=True, slots=True)
class File:
    """What is served of a file. The ETag is of its content."""

    content: bytes
    packed: bytes
    """The content as gzip, made once: the page's sources are written to be read, and pack to a third."""
    media_type: str
    etag: str
    changed: tuple[int, int]
    """When it was changed (nanoseconds) and its size, on disk."""


class Site:
    """The files below a folder. One that changes on disk is read again."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._files: dict[str, File] = {}

    def find(self, path: str) -> File | None:
        """The file at this path, such as `styles/main.css`; None if there is none that is served.

        A folder with a page of its own is found with and without a slash at its end.
        """
        if "." not in path:
            path = f"{path.removesuffix('/')}/{PAGE}"
        media_type = MEDIA_TYPES.get(Path(path).suffix)
        if media_type is None or _PATH.fullmatch(path) is None:
            return None
        location = (self._root / path).resolve()
        if not location.is_relative_to(self._root) or not location.is_file():
            return None
        status = location.stat()
        known = self._files.get(path)
        if known is not None and known.changed == (status.st_mtime_ns, status.st_size):
            return known
        if status.st_size > MAX_FILE_BYTES:
            return None
        content = location.read_bytes()
        etag = hashlib.sha256(content).hexdigest()[:32]
        packed = gzip.compress(content, mtime=0)
        self._files[path] = File(content, packed, media_type, etag, (status.st_mtime_ns, status.st_size))
        return self._files[path]


def page_policy(websockets: Iterable[str]) -> str:
    """The Content-Security-Policy of the page, which talks to us and to these gateways."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
            "manifest-src 'self'",
            " ".join(("connect-src 'self'", *websockets)),
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def serve_file(site: Site, services: Services, path: str) -> Response | None:
    """The answer with this file, or that it has not changed; None if there is none.

    The names do not change with the content, so a browser keeps a file but asks each time.
    """
    file = site.find(path)
    if file is None:
        return None
    packed = request.accept_encodings.quality("gzip") > 0
    etag = f"{file.etag}-gzip" if packed else file.etag
    headers = {"Cache-Control": "no-cache", "ETag": f'"{etag}"', "Vary": "Accept-Encoding"}
    if file.media_type.startswith("text/html"):
        origins = websocket_origins(services.directory, services.publisher.partitions, hostname(request))
        policy = headers["Content-Security-Policy"] = page_policy(sorted({*origins, *services.websocket_origins}))
        tag = hashlib.sha256(f"{etag} {policy}".encode()).hexdigest()[:32]
        headers["ETag"] = f'"{tag}"'  # a page kept with the policy of another day could not reach its gateway
    if request.if_none_match.contains_weak(headers["ETag"].strip('"')):
        return Response(b"", 304, headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(file.packed if packed else file.content, headers=headers, content_type=file.media_type)
