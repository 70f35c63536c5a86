"""Routes that are not of the API itself: health, metrics, the public keys, the API's description, and the page."""

import hashlib
from collections.abc import Awaitable, Callable
from functools import cached_property, partial
from pathlib import Path

import msgspec
from quart import Quart, Response, request
from quart_schema import QuartSchema, hide
from werkzeug.exceptions import NotFound
from werkzeug.routing import PathConverter

import rookery.v1
from bff.http.site import Site, serve_file
from bff.openapi.documentation import render_page
from bff.services import Services
from shared.telemetry import metrics
from shared.telemetry.health import PROBES, Probe

KEYS_MAX_AGE = 60
"""Seconds that others may keep our public keys: a new one should sign only after that."""

DOCS_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"

STYLES = Path(__file__).parent / "openapi" / "templates" / "docs.css"

SESSIONS = Path(rookery.v1.__file__).parent / "asyncapi.json"
"""The description of sessions, which `tools/protos/generate.py` makes."""


class SitePath(PathConverter):
    """A path of the page: any that is not the API's, of which an unknown one must not look like a missing file."""

    regex = "(?!v1/)[^/].*?"


class Operations:
    """Health, metrics, the public keys, the API's description, and the page."""

    def __init__(self, services: Services, schema: QuartSchema, site: Site) -> None:
        self._services = services
        self._schema = schema
        self._site = site

    def mount(self, app: Quart) -> None:
        """Make the routes, which are not of the API and so not in its description."""
        app.url_map.converters["site"] = SitePath
        views: dict[str, Callable[..., Awaitable[Response]]] = {
            **{f"/{probe}": partial(self._health, probe) for probe in PROBES},
            "/metrics": self._metrics,
            "/.well-known/jwks.json": self._public_keys,
            "/openapi.json": self._openapi,
            "/asyncapi.json": self._asyncapi,
            "/docs": self._docs,
            "/docs.css": self._styles,
            "/": self._file,
            "/<site:path>": self._file,
        }
        for path, view in views.items():
            app.add_url_rule(path, path, _hidden(view), methods=["GET"])

    async def _health(self, probe: Probe) -> Response:
        status, report = await self._services.health.report(probe)
        return _json(report, status)

    async def _metrics(self) -> Response:
        return Response(await metrics.exposition(), content_type=metrics.CONTENT_TYPE)

    async def _public_keys(self) -> Response:
        response = _json(await self._services.issuer.keys.public(), 200)
        response.headers["Cache-Control"] = f"max-age={KEYS_MAX_AGE}"
        return response

    async def _openapi(self) -> Response:
        return _unchanged_or(self._description[0], "application/json")

    async def _asyncapi(self) -> Response:
        return _unchanged_or(SESSIONS.read_bytes(), "application/json")

    async def _docs(self) -> Response:
        response = _unchanged_or(self._description[1], "text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = DOCS_POLICY
        return response

    async def _styles(self) -> Response:
        return _unchanged_or(STYLES.read_bytes(), "text/css; charset=utf-8")

    async def _file(self, path: str = "index.html") -> Response:
        response = serve_file(self._site, self._services, path)
        if response is None:
            raise NotFound
        return response

    @cached_property
    def _description(self) -> tuple[bytes, bytes]:
        """For programs and for people. Some 10 ms of work, so made when someone first asks."""
        openapi = self._schema.openapi_provider.schema()
        return msgspec.json.encode(openapi), render_page(openapi).encode()


def _hidden(view: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """A function of its own that quart-schema passes over: a method can't be marked."""

    async def hidden(**path: str) -> Response:
        return await view(**path)

    return hide(hidden)


def _json(value: object, status: int) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(value), status, headers, content_type="application/json")


def _unchanged_or(content: bytes, media_type: str) -> Response:
    """The content, or that it is what the client has."""
    etag = hashlib.sha256(content).hexdigest()[:32]
    headers = {"Cache-Control": "no-cache", "ETag": f'"{etag}"'}
    if request.if_none_match.contains_weak(etag):
        return Response(b"", 304, headers)
    return Response(content, headers=headers, content_type=media_type)
