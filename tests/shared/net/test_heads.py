"""A head that two servers might read differently, or that is too large, is refused."""

import h11
import pytest

from shared.net.heads import MAX_FIELDS, ServerConnection, head_bytes, refusal_of_head

LINE = b"GET / HTTP/1.1\r\n"

HEAD = LINE + b"Host: x\r\nCookie: y=z\r\n"

CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"


def request_of(head: bytes, limit: int = 1_000) -> h11.Request:
    connection = ServerConnection(limit)
    connection.receive_data(head + b"\r\n")
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


def refused(sent: bytes, limit: int = 1_000) -> int:
    """The status that refuses these bytes."""
    connection = ServerConnection(limit)
    connection.receive_data(sent)
    with pytest.raises(h11.RemoteProtocolError) as refusal:  # noqa: PT012 - the event before it is no matter
        while connection.next_event() is not h11.NEED_DATA:
            pass
    return refusal.value.error_status_hint


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (LINE + b"Host: x\r\nContent-Length: 5\r\n", None),
        (LINE.replace(b"1.1", b"1.0"), None),
        (LINE + b"Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        (LINE.replace(b"1.1", b"3.0"), 400),
        (LINE.replace(b"1.1", b"0.9"), 400),
    ],
)
def test_other_versions_and_two_lengths_are_refused(head: bytes, status: int | None) -> None:
    assert refusal_of_head(request_of(head)) == status


def test_a_head_may_have_as_many_bytes_as_the_limit() -> None:
    whole = len(HEAD) + len(b"\r\n")
    assert head_bytes(request_of(HEAD, whole)) == len(HEAD)
    assert refused(HEAD + b"\r\n" + b"GET /other", whole - 1) == 431


def test_a_head_and_trailers_may_have_as_many_fields_as_the_limit() -> None:
    """The bytes after a head do not count."""
    connection = ServerConnection(1_000)
    connection.receive_data(LINE + b"Host: x\n" + b"a:\n" * (MAX_FIELDS - 1) + b"\n" * 300)
    assert isinstance(connection.next_event(), h11.Request)
    assert refused(LINE + b"Host: x\n" + b"a:\n" * MAX_FIELDS + b"\n") == 431
    assert refused(CHUNKED + b"a:\n" * (MAX_FIELDS + 2) + b"\n") == 431


def test_trailers_may_have_as_many_bytes_as_a_head() -> None:
    assert refused(CHUNKED + b"a:" + b"x" * 1_000 + b"\r\n\r\n") == 431


def test_a_foreign_encoding_is_an_error_of_the_client() -> None:
    assert refused(LINE + b"Host: x\r\nTransfer-Encoding: gzip\r\n\r\n") == 400
