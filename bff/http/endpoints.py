"""Turns a typed function into a route: authentication, input and output.

The function's parameters name its inputs: `claims` requires a valid access token, `admin` an admin's token, `token`
after one of them is that token, `body` and `query` are parsed into their models, `content` is a body that is streamed
(`bodies.py`), and any other parameter is the part of the path with that name. The function returns a Response, or a
Refusal, which is sent as a problem.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
import structlog
import trio
from google.protobuf.message import Message
from hypercorn.typing import Scope
from pydantic import BaseModel, ValidationError
from quart import Quart, request
from quart import Response as HttpResponse
from quart_schema import document_querystring, document_request, document_response, security_scheme, tag
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from bff.http.bodies import streamed_content
from bff.http.problems import problem
from bff.http.server import mark_authenticated, turn_of
from bff.validation import MAX_FIELD, refusal_of
from shared.accounts.tokens import Claims, TokenVerifier
from shared.contract.errors import Code, Refusal
from shared.contract.ids import MAX_ID
from shared.telemetry import traces

M = TypeVar("M", bound=BaseModel)
H = TypeVar("H", bound="Callable[..., Awaitable[Response | Refusal]]")
T = TypeVar("T")

MAX_BODY_BYTES = 64 * 1024
"""Most bytes of the body of a request. The largest valid one creates a group with 999 users, and has under 32 KB."""

REQUEST_DEADLINE = 10.0
"""Seconds from the head of a request to its response, the arrival of the body included."""

BODY_SECONDS = 6.0
"""Seconds of these for the arrival of the body: a late body is an error of its client, and no 5xx."""

MAX_QUERY_FIELDS = 32
"""Most fields of a query; no route has more than 8."""

_SPECIFICATION = "_endpoint"

_AT_END = "rookery.at_end"
"""The key of a request's scope for its stack of contexts and callbacks, which ends with the request."""


@dataclass(frozen=True, slots=True)
class Response:
    """A body, its status, and its ETag (empty for none). Without a body the status is 204."""

    body: BaseModel | Mapping[str, Any] | None = None
    status: int = 200
    etag: str = ""


@asynccontextmanager
async def request_of(scope: Scope) -> AsyncIterator[Scope]:
    """The scope of a request that ends with the block, when its response is sent or given up; see `at_end`."""
    async with AsyncExitStack() as stack:
        yield cast(Scope, {**scope, _AT_END: stack})


def at_end(function: Callable[[], None]) -> None:
    """Call the function when the response to this request is sent or given up."""
    _stack().callback(function)


async def open_until_end(opened: AbstractAsyncContextManager[T]) -> T:
    """Enter the context, and exit it when the response to this request is sent or given up. It may hold no nursery and
    no cancel scope, since another task exits it."""
    return await _stack().enter_async_context(opened)


def _stack() -> AsyncExitStack:
    return cast(AsyncExitStack, cast(dict[str, Any], request.scope)[_AT_END])


@dataclass(frozen=True, slots=True)
class Specification:
    """A route without its function."""

    method: str
    path: str
    response: type[BaseModel] | type[Message] | None
    status: int
    seconds: float


def endpoint(
    method: str,
    path: str,
    response: type[BaseModel] | type[Message] | None = None,
    *,
    status: int = 200,
    seconds: float = REQUEST_DEADLINE,
) -> Callable[[H], H]:
    """Mark a method as a route that returns this model with this status, within so many seconds."""

    def mark(handler: H) -> H:
        setattr(handler, _SPECIFICATION, Specification(method, path, response, status, seconds))
        return handler

    return mark


def mount(app: Quart, groups: Iterable[object], verifier: TokenVerifier) -> None:
    """Add a route for every marked method of the objects, in the order of their definition.

    In the description of the API a group has the name of its class.
    """
    for group in groups:
        for name, function in vars(type(group)).items():
            specification: Specification | None = getattr(function, _SPECIFICATION, None)
            if specification is None:
                continue
            handler = getattr(group, name)
            view = _view(handler, verifier, specification.seconds)
            _describe(view, handler, specification, type(group).__name__)
            app.add_url_rule(specification.path, name, view, methods=[specification.method])


def _view(
    handler: Callable[..., Awaitable[Response | Refusal]], verifier: TokenVerifier, seconds: float
) -> Callable[..., Any]:
    parameters = inspect.signature(handler).parameters

    async def run(path: dict[str, str]) -> Response | Refusal:
        inputs = await _inputs(parameters, path, verifier)
        return inputs if isinstance(inputs, Refusal) else await handler(**inputs)

    async def respond(path: dict[str, str]) -> HttpResponse:
        result = await run(path)
        return problem(result) if isinstance(result, Refusal) else _respond(result)

    async def view(**path: str) -> HttpResponse:
        return await in_time(respond(path), seconds)

    return view


async def in_time(response: Awaitable[HttpResponse], seconds: float = REQUEST_DEADLINE) -> HttpResponse:
    """Return the response; `timed_out` if it takes more than so many seconds."""
    with trio.move_on_after(seconds):
        return await response
    return problem(Refusal(Code.TIMED_OUT, f"This took more than {seconds:g} seconds."))


async def _inputs(
    parameters: Mapping[str, inspect.Parameter], path: dict[str, str], verifier: TokenVerifier
) -> dict[str, Any] | Refusal:
    """The arguments for the handler's parameters, or the first refusal."""
    inputs: dict[str, Any] = {}
    for name, parameter in parameters.items():
        match name:
            case "claims":
                value: Any = await _authenticate(verifier)
            case "admin":
                value = await _authenticate_admin(verifier)
            case "token":
                value = _bearer_token()
            case "query":
                value = parse_query(parameter.annotation, request.query_string)
            case "body":
                value = _foreign() or await _parse_in_turn(parameter.annotation, await _body())
            case "content":
                value = _foreign() or streamed_content()
            case _:
                value = parse_id(name, path[name]) if parameter.annotation is int else path[name]
        if isinstance(value, Refusal):
            return value
        inputs[name] = value
    return inputs


def _bearer_token() -> str:
    """The access token in the request's header, not verified; empty without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _authenticate(verifier: TokenVerifier) -> Claims | Refusal:
    token = _bearer_token()
    if not token:
        return Refusal(Code.UNAUTHENTICATED, "This needs an access token: `Authorization: Bearer …`.")
    claims = await verifier.verify(token)
    if isinstance(claims, Claims):
        mark_authenticated(request.scope, claims.user_id)
        structlog.contextvars.bind_contextvars(user_id=str(claims.user_id))  # until this request's task ends
        for span in traces.current_spans():
            span.set_attribute("user.id", str(claims.user_id))
    return claims


async def _authenticate_admin(verifier: TokenVerifier) -> Claims | Refusal:
    """The claims of a user who is an admin now: the verifier reads the store at each request."""
    claims = await _authenticate(verifier)
    if isinstance(claims, Claims) and not claims.is_admin:
        return Refusal(Code.FORBIDDEN, "Only admins may do this.")
    return claims


def parse_id(name: str, text: str) -> int | Refusal:
    """Parse an id in a path."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else 0
    return value if 1 <= value <= MAX_ID else Refusal(Code.INVALID, f"`{name}` must be 1 to {MAX_ID}.", field=name)


def parse_query(model: type[M], query: bytes) -> M | Refusal:
    """Parse a query string. Each field may occur once."""
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except UnicodeDecodeError:
        return Refusal(Code.MALFORMED, "The query is not UTF-8.")
    except ValueError:
        return Refusal(Code.MALFORMED, f"The query has more than {MAX_QUERY_FIELDS} fields.")
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            name = name[:MAX_FIELD]
            return Refusal(Code.MALFORMED, f"The field `{name}` occurs twice in the query.", field=name)
        fields[name] = value
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        return refusal_of(error)


def _foreign() -> Refusal | None:
    """The refusal of a body that a page of another site sends with its visitor's browser, at the visitor's address: a
    page needs no permission for a POST of plain text, only to read the response. Browsers state this to servers with
    TLS, and a page can't change it."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return Refusal(Code.FORBIDDEN, "Pages of other sites may not use this API.")
    return None


async def _body() -> bytes:
    """Read the request's body piece by piece: quart 0.23 checks the size of a chunked body only at its end."""
    body = bytearray()
    with trio.move_on_after(BODY_SECONDS):
        async for piece in request.body:
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise RequestEntityTooLarge
        return bytes(body)
    raise RequestTimeout(f"The body did not arrive within {BODY_SECONDS:g} seconds.")


async def _parse_in_turn(model: type[M], body: bytes) -> M | Refusal:
    """Parse a body during the turn of its client: 64 KiB of unknown fields take 14 ms."""
    turn = turn_of(request.scope)
    await turn.wait()
    with turn:
        return parse_body(model, body)


def parse_body(model: type[M], body: bytes) -> M | Refusal:
    """Parse a JSON body."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        return refusal_of(error)


def _respond(response: Response) -> HttpResponse:
    headers = {"Cache-Control": "no-store"}
    if response.etag:
        headers = {"Cache-Control": "private, no-cache", "ETag": f'"{response.etag}"'}
        if request.if_none_match.contains_weak(response.etag):
            return HttpResponse(b"", 304, headers)
    body = response.body
    if body is None:
        return HttpResponse(b"", 204, headers)
    text = body.model_dump_json().encode() if isinstance(body, BaseModel) else msgspec.json.encode(body)
    return HttpResponse(text, response.status, headers, content_type="application/json")


def _describe(view: Callable[..., Any], handler: Callable[..., Any], specification: Specification, group: str) -> None:
    """Describe the route to quart-schema, for the OpenAPI document."""
    view.__doc__, view.__name__ = handler.__doc__, handler.__name__
    parameters = inspect.signature(handler).parameters
    tag([group])(view)
    if "body" in parameters:
        document_request(parameters["body"].annotation)(view)
    if "query" in parameters:
        document_querystring(parameters["query"].annotation)(view)
    security_scheme([{"bearer": []}] if {"claims", "admin"} & parameters.keys() else [])(view)
    document_response(specification.response or Nothing, specification.status)(view)


class Nothing(BaseModel):
    """Done. The response has no body."""
