"""Checks of the heads of requests of HTTP/1.1, in addition to the checks of h11."""

from http import HTTPStatus

import h11
from h11._receivebuffer import ReceiveBuffer

MAX_FIELDS = 128
"""Most fields of a head. Browsers send some 20, and proxies add some 10. HAProxy accepts 101, Apache 100."""


class ServerConnection(h11.Connection):
    """h11's connection of a server, with two differences.

    A head or trailers with more bytes than the limit, or with more than MAX_FIELDS fields, are refused before they are
    parsed, with 431: h11 limits them only while they are incomplete, and each field takes 2 microseconds. And each
    error is one of the client: `error_status_hint` is 400 for a foreign encoding, for which h11 has 501.
    """

    def __init__(self, max_head_bytes: int) -> None:
        """`max_head_bytes` bounds the request's line and headers together, and the trailers."""
        super().__init__(h11.SERVER, max_incomplete_event_size=max_head_bytes)
        self._receive_buffer = _Buffer(max_head_bytes)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint >= HTTPStatus.INTERNAL_SERVER_ERROR:
                error.error_status_hint = HTTPStatus.BAD_REQUEST
            raise


class _Buffer(ReceiveBuffer):
    """Received bytes, of which h11 takes a head, or trailers, as lines."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes

    def maybe_extract_lines(self) -> list[bytearray] | None:
        held = len(self)
        lines = super().maybe_extract_lines()
        if lines is not None and (held - len(self) > self._max_bytes or len(lines) > 1 + MAX_FIELDS):
            raise h11.RemoteProtocolError(
                f"a head has {self._max_bytes} bytes and {MAX_FIELDS} fields at most",
                error_status_hint=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            )
        return lines


def refusal_of_head(request: h11.Request) -> HTTPStatus | None:
    """The status that refuses this request because of its head; None if the head is accepted.

    h11 ignores Content-Length beside Transfer-Encoding (RFC 9112, 6.1: a server may refuse it), and accepts any
    version. RFC 9110 suggests 505 for a foreign one, but the error is the client's.
    """
    if not request.http_version.startswith(b"1."):
        return HTTPStatus.BAD_REQUEST
    if {b"content-length", b"transfer-encoding"} <= {name.lower() for name, _ in request.headers.raw_items()}:
        return HTTPStatus.BAD_REQUEST
    return None


def head_bytes(request: h11.Request) -> int:
    """The bytes of the request's line and headers."""
    line_bytes = len(request.method) + len(request.target) + len(b"  HTTP/1.1\r\n")
    fields = request.headers.raw_items()
    return line_bytes + sum(len(name) + len(value) + len(b": \r\n") for name, value in fields)
