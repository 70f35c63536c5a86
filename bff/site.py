"""The page: the files of `web/`, in memory, under paths with the hash of their content; and their security policy.

`/assets/HASH/main.js` is the file of the version with that hash, which never changes: a browser loads it once.
`/main.js` is the file of the newest version, which a browser revalidates.
"""

import gzip
import hashlib
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

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
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Media types by suffix. A file with another suffix is not served."""

PAGE = "index.html"
"""The file that is served for a folder."""

WORKER = "sw.js"
"""The service worker: browsers detect a new version by a change of this script."""

RECOVER = "recover.js"
"""The script that reloads a page if this process does not have its version. Every version has it."""

NOT_FOUND = "not-found.html"
"""The page for an address without a page."""

MAX_FILE_BYTES = 2 * 1024 * 1024
"""The largest size of a file, since all files are in memory; the largest one, a source map, has 370 KB."""

MAX_VERSIONS = 4
"""Versions in memory: a page that was opened before an update loads its other modules from its own version."""

LOOK_SECONDS = 0.1
"""The least time between two scans of the folder: a scan takes up to 2 ms, and anybody may open the page."""

YEAR = 31_536_000
"""Seconds for which a browser uses a file of a version without a request."""

WORKER_POLICY = "default-src 'none'; connect-src 'self'; frame-ancestors 'none'"

_ASSETS = "{{assets}}"
"""In a page and in the service worker: the path of its version, such as `/assets/0123456789abcdef`."""

_MODULES = re.compile(r"\{\{(preloads|modules) ([^}]+)\}\}")
"""In a page and in the service worker: these scripts and all modules that they import, in the order in which they are
needed; as links that preload them in parallel, not level by level, or as paths with spaces between them."""

_VERSIONED = re.compile(r"assets/([0-9a-f]{16})/(.+(?<!\.html))")
"""A file of a version. Pages have no such path, since their policy changes with the gateways."""

_PATH = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""No hidden file, no `..`, nothing that a file system might interpret differently."""

_IMPORT = re.compile(r'(?:^|;)(?:import|export)\b[^;"(]*?"(\.[^"]+)"', re.MULTILINE)
"""A static import of a module by its relative path, also in a minified module. An import in a comment does not begin
its line; a dynamic one has a bracket."""

_Stamp = tuple[int, int]
"""Modification time (nanoseconds) and size of a file on disk, to detect a change."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is served. The ETag is a hash of the content."""

    content: bytes
    compressed: bytes
    """The content in gzip, compressed once: the sources shrink to a third."""
    media_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class Version:
    """The files of the page at one time, by path, and the hash of all of them."""

    hash: str
    files: Mapping[str, File]

    @property
    def assets(self) -> str:
        """The path that is put before the paths of the files."""
        return f"/assets/{self.hash}"


class Site:
    """The files below a folder. Files that change on disk make a new version."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._stamps: dict[str, _Stamp] = {}
        self._sources: dict[str, File] = {}
        self._versions: dict[str, Version] = {}
        self._newest = Version("", {})
        self._next_look = 0.0
        self.newest()

    def find(self, path: str) -> File | None:
        """The file at this path, such as `styles/main.css` or `assets/0123456789abcdef/styles/main.css`; None if no
        such file is served.

        A folder with an index page is found with and without a trailing slash.
        """
        if versioned := _VERSIONED.fullmatch(path):
            version = self._versions.get(versioned[1])
            if version is None and versioned[2] == RECOVER:
                version = self.newest()
            return version.files.get(versioned[2]) if version else None
        if "." not in path:
            path = f"{path.removesuffix('/')}/{PAGE}".removeprefix("/")
        return self.newest().files.get(path)

    def newest(self) -> Version:
        """The version that is on disk, as of the last `LOOK_SECONDS`. Only changed files are read."""
        if time.monotonic() < self._next_look:
            return self._newest
        self._next_look = time.monotonic() + LOOK_SECONDS
        stamps = self._stamps_on_disk()
        if stamps != self._stamps or not self._versions:
            sources = {path: file for path, stamp in stamps.items() if (file := self._source(path, stamp))}
            self._stamps, self._sources = stamps, sources
            self._newest = _version(sources)
            self._versions.pop(self._newest.hash, None)
            self._versions[self._newest.hash] = self._newest
            for old in list(self._versions)[:-MAX_VERSIONS]:
                del self._versions[old]
        return self._newest

    def _stamps_on_disk(self) -> dict[str, _Stamp]:
        """The served files, without links: a link could lead out of the folder."""
        stamps: dict[str, _Stamp] = {}
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(self._root / folder) as entries:
                    for entry in entries:
                        path = folder + entry.name
                        if _PATH.fullmatch(path) is None:
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(f"{path}/")
                        elif entry.is_file(follow_symlinks=False) and os.path.splitext(path)[1] in MEDIA_TYPES:
                            status = entry.stat(follow_symlinks=False)
                            stamps[path] = (status.st_mtime_ns, status.st_size)
            except OSError:
                pass  # the folder or a file is gone: the next scan finds the files that replace it
        return stamps

    def _source(self, path: str, stamp: _Stamp) -> File | None:
        """The file as it is on disk; None if it is too large or not readable."""
        if self._stamps.get(path) == stamp:
            return self._sources.get(path)
        if stamp[1] > MAX_FILE_BYTES:
            return None
        try:
            return make_file(path, (self._root / path).read_bytes())
        except OSError:  # the file is gone, or must not be read
            return None


def make_file(path: str, content: bytes) -> File:
    """The file as it is served. The path's suffix is one of MEDIA_TYPES."""
    etag = hashlib.sha256(content).hexdigest()[:32]
    return File(content, gzip.compress(content, mtime=0), MEDIA_TYPES[PurePosixPath(path).suffix], etag)


def _version(sources: Mapping[str, File]) -> Version:
    """The version of these files, with the placeholders of the pages and of the service worker filled."""
    digest = hashlib.sha256()
    for path, file in sorted(sources.items()):
        digest.update(f"{path} {file.etag}\n".encode())
    version = Version(digest.hexdigest()[:16], sources)
    filled = {path: _filled(path, version) for path in sources if path.endswith(".html") or path == WORKER}
    return Version(version.hash, {**sources, **filled})


def _filled(path: str, version: Version) -> File:
    def listed(found: re.Match[str]) -> str:
        modules = modules_of(found[2].split(), version.files)
        if found[1] == "modules":
            return " ".join(modules)
        return "\n".join(f'<link rel="modulepreload" href="{version.assets}/{module}">' for module in modules)

    text = _MODULES.sub(listed, version.files[path].content.decode())
    return make_file(path, text.replace(_ASSETS, version.assets).encode())


def modules_of(scripts: Sequence[str], files: Mapping[str, File]) -> list[str]:
    """The paths of the scripts and of all modules that they import statically, each once: script by script, and for
    each script the nearest modules first."""
    modules: dict[str, None] = {}
    for script in scripts:
        queue = [script]
        for module in queue:  # grows meanwhile
            if module in modules or module not in files:
                continue
            modules[module] = None
            folder = PurePosixPath(module).parent
            queue += [os.path.normpath(folder / path) for path in _IMPORT.findall(files[module].content.decode())]
    return list(modules)


def page_policy(websockets: Iterable[str], files_origin: str = "") -> str:
    """The Content-Security-Policy of the page, which connects to this server and to these gateways. It may show
    pictures and play videos of this server and of the object store, if downloads lead there."""
    pictures = f"'self' {files_origin}".rstrip()
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "worker-src 'self'",
            "style-src 'self'",
            f"img-src {pictures} data: blob:",
            f"media-src {pictures} blob:",
            "font-src 'self'",
            "manifest-src 'self'",
            " ".join(("connect-src 'self'", *websockets)),
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def serve_file(site: Site, services: Services, path: str, status: int = 200) -> HttpResponse | None:
    """The response with this file, or 304 if the client has it; None if there is no such file.

    A file under the path of its version may be kept for good; any other is revalidated each time.
    """
    file = site.find(path)
    if file is None:
        return None
    headers = {"Cache-Control": f"public, max-age={YEAR}, immutable" if _VERSIONED.fullmatch(path) else "no-cache"}
    if path == WORKER:
        headers["Content-Security-Policy"] = WORKER_POLICY
    if not file.media_type.startswith("text/html"):
        return respond(file, headers, status=status)
    origins = websocket_origins(services.directory, services.publisher.partitions, hostname(request))
    policy = headers["Content-Security-Policy"] = page_policy(
        sorted({*origins, *services.websocket_origins}), services.files_origin
    )
    # A page cached with an older policy could not reach its gateway.
    return respond(file, headers, status=status, depends_on=policy)


def respond(file: File, headers: Mapping[str, str], *, status: int = 200, depends_on: str = "") -> HttpResponse:
    """The response with this file, compressed if the client accepts gzip; or 304 if the client has this response. Its
    ETag also changes with `depends_on`."""
    is_compressed = request.accept_encodings.quality("gzip") > 0
    etag = f"{file.etag}-gzip" if is_compressed else file.etag
    if depends_on:
        etag = hashlib.sha256(f"{etag} {depends_on}".encode()).hexdigest()[:32]
    all_headers = {**headers, "ETag": f'"{etag}"', "Vary": "Accept-Encoding"}
    if status == 200 and request.if_none_match.contains_weak(etag):
        return HttpResponse(b"", 304, all_headers)
    if is_compressed:
        all_headers["Content-Encoding"] = "gzip"
    content = file.compressed if is_compressed else file.content
    return HttpResponse(content, status, all_headers, content_type=file.media_type)
