"""The page: the files of `web/`, cached in memory, and their Content-Security-Policy."""

import gzip
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quart import Response as HttpResponse
from quart import request

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
"""Media types by suffix. A file with another suffix is not served."""

PAGE = "index.html"
"""The file that is served for a folder."""

MAX_FILE_BYTES = 2 * 1024 * 1024
"""Of a file, since all are cached; the whole page has under 100 KB, compressed."""

_PATH = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""No hidden file, no `..`, nothing that a file system might interpret differently."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is served. The ETag is a hash of the content."""

    content: bytes
    compressed: bytes
    """The content in gzip, compressed once: the sources shrink to a third."""
    media_type: str
    etag: str
    changed: tuple[int, int]
    """Modification time (nanoseconds) and size on disk, to detect a change."""


class Site:
    """The files below a folder. A file that changes on disk is read again."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._files: dict[str, File] = {}

    def find(self, path: str) -> File | None:
        """The file at this path, such as `styles/main.css`; None if no such file is served.

        A folder with an index page is found with and without a trailing slash.
        """
        if "." not in path:
            path = f"{path.removesuffix('/')}/{PAGE}"
        media_type = MEDIA_TYPES.get(Path(path).suffix)
        if media_type is None or _PATH.fullmatch(path) is None:
            return None
        try:
            return self._read(path, media_type)
        except OSError:  # a name that is too long, a file that is gone or not readable
            return None

    def _read(self, path: str, media_type: str) -> File | None:
        location = (self._root / path).resolve()
        if not location.is_relative_to(self._root) or not location.is_file():
            return None
        status = location.stat()
        cached = self._files.get(path)
        if cached is not None and cached.changed == (status.st_mtime_ns, status.st_size):
            return cached
        if status.st_size > MAX_FILE_BYTES:
            return None
        content = location.read_bytes()
        etag = hashlib.sha256(content).hexdigest()[:32]
        compressed = gzip.compress(content, mtime=0)
        self._files[path] = File(content, compressed, media_type, etag, (status.st_mtime_ns, status.st_size))
        return self._files[path]


def page_policy(websockets: Iterable[str]) -> str:
    """The Content-Security-Policy of the page, which connects to this server and to these gateways."""
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


def serve_file(site: Site, services: Services, path: str) -> HttpResponse | None:
    """The response with this file, or 304 if the client has it; None if there is no such file.

    File names do not depend on the content, so a browser caches a file and revalidates it each time.
    """
    file = site.find(path)
    if file is None:
        return None
    is_compressed = request.accept_encodings.quality("gzip") > 0
    etag = f"{file.etag}-gzip" if is_compressed else file.etag
    headers = {"Cache-Control": "no-cache", "ETag": f'"{etag}"', "Vary": "Accept-Encoding"}
    if file.media_type.startswith("text/html"):
        origins = websocket_origins(services.directory, services.publisher.partitions, hostname(request))
        policy = headers["Content-Security-Policy"] = page_policy(sorted({*origins, *services.websocket_origins}))
        tag = hashlib.sha256(f"{etag} {policy}".encode()).hexdigest()[:32]
        headers["ETag"] = f'"{tag}"'  # a page cached with an older policy could not reach its gateway
    if request.if_none_match.contains_weak(headers["ETag"].strip('"')):
        return HttpResponse(b"", 304, headers)
    if is_compressed:
        headers["Content-Encoding"] = "gzip"
    return HttpResponse(
        file.compressed if is_compressed else file.content, headers=headers, content_type=file.media_type
    )
