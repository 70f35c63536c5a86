"""WebSocket's opening handshake (RFC 6455, section 4), sans I/O: accepts or rejects a client's request."""

import base64
import binascii
from collections.abc import Collection
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import h11
from wsproto.utilities import generate_accept_token

from shared.net.client_address import split_list
from shared.net.heads import ServerConnection

SUBPROTOCOL = "rookery.v1.json"
PATH = "/session"

MAX_HEAD_BYTES = 16 * 1024
"""Most bytes of a request's line and headers, including cookies."""

VERSION = "13"
"""The only version of the protocol that is no draft."""


class HandshakeResponse(NamedTuple):
    """The response to a request. If it is accepted, `unread` are the bytes that followed the request."""

    data: bytes
    is_accepted: bool
    unread: bytes = b""
    forwarded_for: tuple[str, ...] = ()
    """The items of an accepted request's X-Forwarded-For."""


class _Rejected(Exception):
    """The request is rejected: an HTTP status, a sentence for people, and the headers that the status requires."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


class Handshake:
    """One client's handshake. Pages of these `origins` may connect; if empty, pages of the same host only."""

    def __init__(self, origins: Collection[str], *, is_full: bool = False) -> None:
        """`is_full` if the gateway has no room for another session."""
        self._origins = origins
        self._is_full = is_full
        self._http = ServerConnection(MAX_HEAD_BYTES)

    def feed(self, data: bytes) -> HandshakeResponse | None:
        """Feed received bytes, at least one; the response, once the request is complete or rejected."""
        self._http.receive_data(data)
        try:
            request = self._http.next_event()
            if not isinstance(request, h11.Request):
                return None
            accepted = self._accept(request)
            if not isinstance(self._http.next_event(), h11.EndOfMessage):
                raise _Rejected(400, "the request must have no body")
            forwarded = split_list([_joined(request).get(b"x-forwarded-for", b"").decode("latin-1")])
            return HandshakeResponse(accepted, True, self._http.trailing_data[0], tuple(forwarded))
        except _Rejected as rejected:
            return _reject(rejected)
        except h11.RemoteProtocolError as error:
            return _reject(_Rejected(error.error_status_hint, str(error)))

    def _accept(self, request: h11.Request) -> bytes:
        """The head that switches protocols. Raises _Rejected."""
        headers = {name.decode(): value.decode("latin-1") for name, value in _joined(request).items()}
        _check_request(request, headers)
        self._check_origin(headers)
        if SUBPROTOCOL not in _words(headers.get("sec-websocket-protocol", "")):
            raise _Rejected(400, f"the sub-protocol {SUBPROTOCOL} is needed")
        if self._is_full:
            raise _Rejected(503, "this gateway has no room for another session", Retry_After="5")
        return _head(
            101,
            Upgrade="websocket",
            Connection="Upgrade",
            Sec_WebSocket_Accept=generate_accept_token(headers["sec-websocket-key"].encode()).decode(),
            Sec_WebSocket_Protocol=SUBPROTOCOL,
        )

    def _check_origin(self, headers: dict[str, str]) -> None:
        origin = headers.get("origin")
        if origin is not None and not self._allows(origin, headers["host"]):
            raise _Rejected(403, "pages of this origin may not connect")

    def _allows(self, origin: str, host: str) -> bool:
        if self._origins:
            return origin in self._origins
        try:
            own_host = urlsplit(f"//{host}").hostname
            return own_host is not None and urlsplit(origin).hostname == own_host
        except ValueError:
            return False


def _check_request(request: h11.Request, headers: dict[str, str]) -> None:
    """Check that the request is for a WebSocket at our path (section 4.2.1). Raises _Rejected."""
    if request.http_version != b"1.1":
        raise _Rejected(400, "HTTP/1.1 is needed")
    if request.target.partition(b"?")[0] != PATH.encode():
        raise _Rejected(404, f"sessions are at {PATH}")
    if request.method != b"GET":
        raise _Rejected(405, "a WebSocket is opened with GET", Allow="GET")
    if "websocket" not in _lower_words(headers, "upgrade") or "upgrade" not in _lower_words(headers, "connection"):
        raise _Rejected(426, "a session is a WebSocket", Upgrade="websocket")
    if headers.get("sec-websocket-version") != VERSION:
        raise _Rejected(426, f"version {VERSION} is needed", Upgrade="websocket", Sec_WebSocket_Version=VERSION)
    try:
        key = base64.b64decode(headers.get("sec-websocket-key", ""), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 16:
        raise _Rejected(400, "Sec-WebSocket-Key must be 16 bytes in base64")


def _joined(request: h11.Request) -> dict[bytes, bytes]:
    """The headers by lower-case name; repeated ones joined to one list (RFC 9110, section 5.3)."""
    joined: dict[bytes, bytes] = {}
    for name, value in request.headers:
        joined[name] = joined[name] + b", " + value if name in joined else value
    return joined


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.split(",")]


def _lower_words(headers: dict[str, str], name: str) -> list[str]:
    return _words(headers.get(name, "").lower())


def _reject(rejected: _Rejected) -> HandshakeResponse:
    body = f"{rejected}\n".encode()
    head = _head(
        rejected.status,
        Content_Type="text/plain; charset=utf-8",
        Content_Length=str(len(body)),
        Connection="close",
        **rejected.headers,
    )
    return HandshakeResponse(head + body, False)


def _head(status: int, **headers: str) -> bytes:
    """The head of a response; in the names of headers, `_` stands for a hyphen."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode()
