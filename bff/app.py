"""Opens the BFF: its routes, its error handlers, and the server that they run on."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import quart.wrappers
import structlog
import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response as HttpResponse
from quart import g, request
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import MapAdapter

from bff.accounts import Accounts
from bff.admin.routes import Admin, SettingKey
from bff.chats import Chats
from bff.deletions import Deletions
from bff.departures import open_departures
from bff.files.avatars import Avatars
from bff.files.completion import open_completions
from bff.files.downloads import CutOff, Downloads
from bff.files.reported import ReportedFiles
from bff.files.scanner import Scanner
from bff.files.uploads import FileId, Uploads
from bff.groups import Groups
from bff.http.bodies import ClientGone, stream_body
from bff.http.endpoints import MAX_BODY_BYTES, mount, request_of
from bff.http.list_headers import drop_long_lists
from bff.http.measures import bff_readings, measure_request
from bff.http.problems import allowed_methods, problem, refusal_of_http, refusal_of_store
from bff.http.proxy_headers import apply_proxy_headers
from bff.http.server import HttpLimits, open_http_server
from bff.http.strangers import Strangers, mark_measured
from bff.http.tracing import set_result, trace_requests
from bff.joining import Joining
from bff.openapi.documentation import document
from bff.operations import Operations
from bff.people import People
from bff.profiles import Profiles
from bff.services import ArchiveQueries, GroupChanges, Services
from bff.site import NOT_FOUND, Site, serve_file
from shared.accounts.departures import DepartureTokens
from shared.accounts.tokens import PasswordHasher, TokenIssuer, TokenVerifier
from shared.background import open_background
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import wall_clock_ms
from shared.contract.problems import MEDIA_TYPE
from shared.files.protocol import FileStore
from shared.net.client_address import Network
from shared.net.health_server import serve_health
from shared.net.tls import add_certificate_check
from shared.pictures.renditions import Pictures
from shared.platform import Platform
from shared.settings import BffSettings
from shared.signals.publisher import SignalPublisher
from shared.telemetry.health import Health
from shared.telemetry.logs import with_role
from shared.telemetry.metrics import register_readings, serve_role
from shared.unknown_chats import UnknownChatLimit

WEB_ROOT = Path(__file__).resolve().parent / "web"

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""In every response, unless the route sets another value."""

CLIENT_GONE: tuple[type[Exception], ...] = tuple(
    kind for kind in [ClientGone, getattr(quart.wrappers, "ClientDisconnectedError", None)] if kind is not None
)
"""Raised when a client disconnects in the middle of a streamed body; by quart 0.23 (Python 3.13), of any request: 0.22
cancels that instead."""

ENDS_EARLY: tuple[type[Exception], ...] = (*CLIENT_GONE, CutOff)
"""Raised when the client is gone, and when a response can't be completed: the connection ends, and nothing else."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bff:
    """An open BFF and its address. Without a health port of its own, probes and metrics are at `port`."""

    app: QuartTrio
    host: str
    port: int
    health_port: int | None


@with_role("bff")
@asynccontextmanager
async def open_bff(
    settings: BffSettings,
    platform: Platform,
    *,
    archive: ArchiveQueries,
    groups: GroupChanges,
    files: FileStore,
    files_origin: str = "",
    scanner: Scanner | None = None,
    health: Health,
    web_root: Path = WEB_ROOT,
    limits: HttpLimits | None = None,
    trust_traces: bool = False,
) -> AsyncIterator[Bff]:
    """Serve the API and the page while the block is open; leaving it drains for `limits.drain_seconds` at most.

    Raises OSError if an address can't be bound. Only the account store makes the BFF unready: users still sign in
    without the archive or a gateway.
    """
    accounts = platform.accounts
    health.add("accounts", "the store of accounts answers", partial(accounts.is_live, "-"))
    add_certificate_check(health, platform.tls)
    issuer = TokenIssuer(accounts)
    tokens = DepartureTokens(accounts, issuer.keys)
    async with (
        open_departures(accounts, archive, groups, tokens) as departures,
        open_completions(archive, files, pictures := Pictures(), scanner, platform.live) as completions,
        open_background() as deletions,
    ):
        services = Services(
            accounts=accounts,
            archive=archive,
            groups=groups,
            directory=platform.directory,
            live=platform.live,
            configuration=platform.configuration,
            processes=platform.processes,
            publisher=platform.backplane,
            signals=SignalPublisher(platform.signals, platform.backplane.partitions),
            files=files,
            health=health,
            ids=platform.ids,
            passwords=PasswordHasher(),
            issuer=issuer,
            verifier=TokenVerifier(accounts),
            clock_ms=wall_clock_ms,
            make_squares=pictures.make_squares,
            complete_file=completions.complete,
            deletions=deletions,
            leave_groups=departures.begin,
            files_origin=files_origin,
            websocket_origins=settings.websocket_origins,
            strict_transport_seconds=settings.strict_transport_seconds,
            trusted_proxies=settings.trusted_proxies,
            serves_metrics=settings.health_port is None,
        )
        app = make_app(services, web_root)
        live = platform.live
        traced = trace_requests(ignore_disconnects(app), lambda: live.value.trace_ratio, trust_callers=trust_traces)
        async with (
            open_background() as probes,  # answered until the server has drained
            open_http_server(
                traced,
                settings.host,
                settings.port,
                limits,
                tls=platform.tls,
                budget=platform.connections,
                trusted_proxies=settings.trusted_proxies,
            ) as server,
        ):
            with serve_role("bff", health.ready), register_readings(bff_readings(server, services.passwords)):
                health_port = settings.health_port
                if health_port is not None:
                    health_port = await probes.start(
                        partial(
                            serve_health,
                            health,
                            settings.host,
                            health_port,
                            tls=platform.tls,
                            turns=platform.connections.turns,
                        )
                    )
                yield Bff(app, *server.address, health_port)


class Application(QuartTrio):
    """Quart with routes that ignore the `Host` header: an invalid one would close the connection without a response.

    A request through `trusted_proxies` has the address and the scheme of the client in front of them.
    """

    trusted_proxies: Sequence[Network] = ()

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._strangers = Strangers(SECURITY_HEADERS)

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await self._strangers.serve(self._serve, scope, receive, send)

    async def _serve(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        scope = apply_proxy_headers(drop_long_lists(scope), self.trusted_proxies)
        if body := stream_body(scope, receive, send):
            receive, send = body.receive, body.send
        async with request_of(scope) as scope:
            await super().asgi_app(scope, receive, send)

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        if request is None:
            return super().create_url_adapter(request)
        return self.url_map.bind("localhost", default_method=request.method, path_info=request.path)


def make_app(services: Services, web_root: Path) -> QuartTrio:
    """The application, without a server."""
    app = Application("bff", static_folder=None)
    app.trusted_proxies = services.trusted_proxies
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["BODY_TIMEOUT"] = None  # the deadline of the request covers the body
    app.config["RESPONSE_TIMEOUT"] = None  # the connection has a deadline for each piece of the response
    app.url_map.merge_slashes = False
    schema = document(app)
    app.url_map.converters |= {"setting": SettingKey, "file": FileId}
    chat_limit = UnknownChatLimit(services.live)
    avatars = Avatars(services)
    deletions = Deletions(services, avatars)
    groups = Groups(services, chat_limit, avatars)
    reported = ReportedFiles(services)
    downloads = Downloads(services, chat_limit, reported)
    resources = [
        Accounts(services, avatars, deletions),
        Profiles(services),
        People(services, chat_limit),
        Chats(services, chat_limit),
        groups,
        Joining(services, chat_limit, groups),
        Uploads(services),
        downloads,
        avatars,
        Admin(services, deletions, reported),
    ]
    mount(app, resources, services.verifier)
    avatars.mount(app)
    downloads.mount(app)
    site = Site(web_root)
    Operations(services, schema, site).mount(app)
    _handle_errors(app, partial(serve_file, site, services, NOT_FOUND, 404))
    app.before_request(_begin)
    app.after_request(partial(_finish, services.strict_transport_seconds))
    return app


def _handle_errors(app: QuartTrio, page_not_found: Callable[[], HttpResponse | None]) -> None:
    """Turn every exception into a problem. A fault discloses only an error id; the log has the rest under that id.

    A browser that opens an unknown address gets a page instead.
    """

    async def on_http(error: HTTPException) -> HttpResponse:
        if isinstance(error, NotFound) and _wants_page() and (page := page_not_found()):
            return page
        response = problem(refusal_of_http(error, MAX_BODY_BYTES))
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = allowed_methods(error)
        return response

    async def on_unavailable(error: Unavailable) -> HttpResponse:
        return problem(refusal_of_store(error))

    async def on_client_gone(_: Exception) -> HttpResponse:
        return problem(Refusal(Code.INCOMPLETE, "The request was cut off."))  # for the log: the client is gone

    async def on_fault(error: Exception) -> HttpResponse:
        error_id = secrets.token_hex(8)
        _log.error("request_failed", error_id=error_id, exc_info=error)
        return problem(Refusal(Code.INTERNAL, f"Something went wrong on our side; the log has it as {error_id}."))

    handlers: dict[type[Exception], Callable[..., Awaitable[HttpResponse]]] = {
        HTTPException: on_http,
        Unavailable: on_unavailable,
        Exception: on_fault,
    }
    handlers |= dict.fromkeys(CLIENT_GONE, on_client_gone)
    for kind, handler in handlers.items():
        app.register_error_handler(kind, handler)


def _wants_page() -> bool:
    """Whether the client prefers a page to JSON, as a browser does when it opens an address."""
    return request.accept_mimetypes.best_match([MEDIA_TYPE, "application/json", "text/html"]) == "text/html"


def ignore_disconnects(app: ASGIFramework) -> ASGIFramework:
    """Wrap the application so that a disconnected client is no error, as quart-trio 0.13 raises a group for it, and
    neither is a response that is cut off."""

    async def run(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            await app(scope, receive, send)
        except* ENDS_EARLY:
            pass  # the request is over, and its connection ends with it

    return run


async def _begin() -> None:
    g.began = trio.current_time()


async def _finish(strict_transport_seconds: int, response: HttpResponse) -> HttpResponse:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if strict_transport_seconds and request.scheme == "https":
        response.headers["Strict-Transport-Security"] = f"max-age={strict_transport_seconds}"
    route = request.url_rule.rule if request.url_rule else ""  # never the path or query: they are private
    log = _log.info if route.startswith("/v1/") else _log.debug
    milliseconds = round((trio.current_time() - g.began) * 1000, 3)
    measure_request(request.method, route, response.status_code, milliseconds / 1000)
    mark_measured(request.scope)
    set_result(request.method, route, response.status_code)
    log("request", method=request.method, route=route, status=response.status_code, milliseconds=milliseconds)
    return response
