"""The check of the head of a request of HTTP/1.1, beyond those of h11."""

from http import HTTPStatus

import h11


def refusal_of_head(request: h11.Request, max_bytes: int) -> HTTPStatus | None:
    """The status that refuses this request because of its head; None if the head is accepted.

    h11 ignores Content-Length beside Transfer-Encoding (RFC 9112, 6.1: a server may refuse it), accepts any version,
    and limits a head only while it is incomplete. `max_bytes` bounds the request's line and headers together.
    """
    if not request.http_version.startswith(b"1."):
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    if head_bytes(request) > max_bytes:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    if {b"content-length", b"transfer-encoding"} <= {name.lower() for name, _ in request.headers.raw_items()}:
        return HTTPStatus.BAD_REQUEST
    return None


def head_bytes(request: h11.Request) -> int:
    """The bytes of the request's line and headers."""
    line_bytes = len(request.method) + len(request.target) + len(b"  HTTP/1.1\r\n")
    fields = request.headers.raw_items()
    return line_bytes + sum(len(name) + len(value) + len(b": \r\n") for name, value in fields)
