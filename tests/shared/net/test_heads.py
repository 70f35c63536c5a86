"""A head that two servers might read differently, or that is too large, is refused."""

import h11
import pytest

from shared.net.heads import refusal_of_head

LINE = b"GET / HTTP/1.1\r\n"


def request_of(head: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head + b"\r\n")
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (LINE + b"Host: x\r\nContent-Length: 5\r\n", None),
        (LINE.replace(b"1.1", b"1.0"), None),
        (LINE + b"Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        (LINE.replace(b"1.1", b"3.0"), 505),
        (LINE.replace(b"1.1", b"0.9"), 505),
    ],
)
def test_other_versions_and_two_lengths_are_refused(head: bytes, status: int | None) -> None:
    assert refusal_of_head(request_of(head), 1_000) == status


def test_a_head_may_have_as_many_bytes_as_the_limit() -> None:
    head = LINE + b"Host: x\r\nCookie: y=z\r\n"
    assert refusal_of_head(request_of(head), len(head)) is None
    assert refusal_of_head(request_of(head), len(head) - 1) == 431
