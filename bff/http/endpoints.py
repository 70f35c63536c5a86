"""Makes a route of a typed function: who asks, what they send, what comes back.

The parameters of the function say what it needs: `claims` a valid access token, `admin` one of an admin, `body` and
`query` a model, and any other the part of the path by that name. It returns an Answer, or a Refusal that becomes a
problem.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
import structlog
import trio
from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError
from quart import Quart, Response, request
from quart_schema import document_querystring, document_request, document_response, security_scheme, tag
from werkzeug.exceptions import RequestEntityTooLarge

from bff.http.problems import problem
from bff.models import Input
from shared.accounts.tokens import Claims, TokenVerifier
from shared.contract.errors import Code, Refusal
from shared.contract.ids import MAX_ID
from shared.telemetry import traces

M = TypeVar("M", bound=Input)
H = TypeVar("H", bound="Callable[..., Awaitable[Answer | Refusal]]")

MAX_BODY_BYTES = 64 * 1024
"""Of a request. The largest that is valid has under 3 KB."""

REQUEST_DEADLINE = 10.0
"""Seconds from the head of a request to its answer, the body's arrival included."""

MAX_QUERY_FIELDS = 32
"""Of a query; no route has more than 7."""

_SPECIFICATION = "_endpoint"


@dataclass(frozen=True, slots=True)
class Answer:
    """A body (nothing, if None), its status, and the ETag by which a client may ask whether it changed."""

    body: BaseModel | Mapping[str, Any] | None = None
    status: int = 200
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Specification:
    """What a route is, besides its function."""

    method: str
    path: str
    answer: type[BaseModel] | type[Message] | None
    status: int


def endpoint(
    method: str, path: str, answer: type[BaseModel] | type[Message] | None = None, *, status: int = 200
) -> Callable[[H], H]:
    """Mark a method as a route that answers with this model and status."""

    def mark(handler: H) -> H:
        setattr(handler, _SPECIFICATION, Specification(method, path, answer, status))
        return handler

    return mark


def mount(app: Quart, groups: Iterable[object], verifier: TokenVerifier) -> None:
    """Make routes of every marked method of the objects, in the order in which they are written.

    In the description of the API the name of a group is that of its class.
    """
    for group in groups:
        for name, function in vars(type(group)).items():
            specification: Specification | None = getattr(function, _SPECIFICATION, None)
            if specification is None:
                continue
            handler = getattr(group, name)
            view = _view(handler, verifier)
            _describe(view, handler, specification, type(group).__name__)
            app.add_url_rule(specification.path, name, view, methods=[specification.method])


def _view(handler: Callable[..., Awaitable[Answer | Refusal]], verifier: TokenVerifier) -> Callable[..., Any]:
    parameters = inspect.signature(handler).parameters

    async def run(path: dict[str, str]) -> Answer | Refusal:
        inputs = await _inputs(parameters, path, verifier)
        return inputs if isinstance(inputs, Refusal) else await handler(**inputs)

    async def view(**path: str) -> Response:
        with trio.move_on_after(REQUEST_DEADLINE):
            result = await run(path)
            return problem(result) if isinstance(result, Refusal) else _respond(result)
        return problem(Refusal(Code.TIMED_OUT, f"This took more than {REQUEST_DEADLINE:g} seconds."))

    return view


async def _inputs(
    parameters: Mapping[str, inspect.Parameter], path: dict[str, str], verifier: TokenVerifier
) -> dict[str, Any] | Refusal:
    """The arguments that the handler wants, or why they can't be had."""
    inputs: dict[str, Any] = {}
    for name, parameter in parameters.items():
        match name:
            case "claims":
                value: Any = await _authenticate(verifier)
            case "admin":
                value = await _authenticate_admin(verifier)
            case "query":
                value = parse_query(parameter.annotation, request.query_string)
            case "body":
                value = parse_body(parameter.annotation, await _body())
            case _:
                value = parse_id(name, path[name]) if parameter.annotation is int else path[name]
        if isinstance(value, Refusal):
            return value
        inputs[name] = value
    return inputs


async def _authenticate(verifier: TokenVerifier) -> Claims | Refusal:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return Refusal(Code.UNAUTHENTICATED, "This needs an access token: `Authorization: Bearer …`.")
    claims = await verifier.verify(token.strip())
    if isinstance(claims, Claims):
        structlog.contextvars.bind_contextvars(user_id=str(claims.user_id))  # until the task of this request ends
        for span in traces.current_spans():
            span.set_attribute("user.id", str(claims.user_id))
    return claims


async def _authenticate_admin(verifier: TokenVerifier) -> Claims | Refusal:
    """Whoever is an admin now: the store is asked at each request."""
    claims = await _authenticate(verifier)
    if isinstance(claims, Claims) and not claims.is_admin:
        return Refusal(Code.FORBIDDEN, "Only admins may do this.")
    return claims


def parse_id(name: str, text: str) -> int | Refusal:
    """An id in a path."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else 0
    return value if 1 <= value <= MAX_ID else Refusal(Code.INVALID, f"`{name}` must be 1 to {MAX_ID}.", field=name)


def parse_query(model: type[M], query: bytes) -> M | Refusal:
    """The fields of a query. Each may be given once."""
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except UnicodeDecodeError:
        return Refusal(Code.MALFORMED, "The query is not UTF-8.")
    except ValueError:
        return Refusal(Code.MALFORMED, f"The query has more than {MAX_QUERY_FIELDS} fields.")
    fields = dict(pairs)
    if len(fields) < len(pairs):
        return Refusal(Code.MALFORMED, "The query has a field twice.")
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        return _refusal(error)


async def _body() -> bytes:
    """The request's body, read piece by piece: quart 0.23 looks at the size of a chunked one only once it is whole."""
    body = bytearray()
    async for piece in request.body:
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise RequestEntityTooLarge
    return bytes(body)


def parse_body(model: type[M], body: bytes) -> M | Refusal:
    """The fields of a JSON body."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        return _refusal(error)


def _refusal(error: ValidationError) -> Refusal:
    """The first thing that is wrong. What is not understood is told from what is but may not be."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind, message = first["type"], first["msg"]
    field = ".".join(str(part) for part in first["loc"])[:64]
    if kind == "json_invalid":
        return Refusal(Code.MALFORMED, f"The body is not JSON in UTF-8: {message.removeprefix('Invalid JSON: ')}.")
    where = f"`{field}`" if field else "the body"
    if kind == "extra_forbidden":
        return Refusal(Code.MALFORMED, f"There is no field {where}.", field=field)
    malformed = kind == "missing" or kind.endswith(("_type", "_parsing"))
    return Refusal(Code.MALFORMED if malformed else Code.INVALID, f"About {where}: {message}.", field=field)


def _respond(answer: Answer) -> Response:
    headers = {"Cache-Control": "no-store"}
    if answer.etag:
        headers = {"Cache-Control": "private, no-cache", "ETag": f'"{answer.etag}"'}
        if request.if_none_match.contains_weak(answer.etag):
            return Response(b"", 304, headers)
    if answer.body is None:
        return Response(b"", 204, headers)
    body = answer.body
    text = body.model_dump_json().encode() if isinstance(body, BaseModel) else msgspec.json.encode(body)
    return Response(text, answer.status, headers, content_type="application/json")


def _describe(view: Callable[..., Any], handler: Callable[..., Any], specification: Specification, group: str) -> None:
    """Tell quart-schema what the route is, for the OpenAPI document."""
    view.__doc__, view.__name__ = handler.__doc__, handler.__name__
    parameters = inspect.signature(handler).parameters
    tag([group])(view)
    if "body" in parameters:
        document_request(parameters["body"].annotation)(view)
    if "query" in parameters:
        document_querystring(parameters["query"].annotation)(view)
    security_scheme([{"bearer": []}] if {"claims", "admin"} & parameters.keys() else [])(view)
    document_response(specification.answer or Nothing, specification.status)(view)


class Nothing(BaseModel):
    """Done; there is no body."""
