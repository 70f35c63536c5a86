"""The opening handshake, sans I/O: accepted and rejected requests, and their responses."""

from collections.abc import Collection
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.gateway.transports.client_stream import RECEIVE_BYTES
from messaging.gateway.transports.handshake import MAX_HEAD_BYTES, SUBPROTOCOL, Handshake, HandshakeResponse
from shared.net.heads import MAX_FIELDS
from tests.messaging.gateway.browsers import request

SAMPLE_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Of RFC 6455, section 1.3, for the key that `request` sends."""


def respond(sent: bytes, origins: Collection[str] = (), *, is_full: bool = False) -> HandshakeResponse:
    """The response to a request that is received in reads of a socket."""
    handshake = Handshake(origins, is_full=is_full)
    for start in range(0, len(sent), RECEIVE_BYTES):
        found = handshake.feed(sent[start : start + RECEIVE_BYTES])
        if found is not None:
            return found
    raise AssertionError("no response")


def head_of(data: bytes) -> tuple[int, dict[str, str]]:
    """A response's status and headers, as another implementation reads them."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x"), ("Upgrade", "websocket")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    event = client.next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse)
    return event.status_code, {name.decode(): value.decode() for name, value in event.headers}


def status_of(sent: bytes, origins: Collection[str] = (), *, is_full: bool = False) -> int:
    return head_of(respond(sent, origins, is_full=is_full).data)[0]


def test_a_good_request_switches_protocols() -> None:
    found = respond(request())
    status, headers = head_of(found.data)
    assert found.is_accepted
    assert status == 101
    assert headers["sec-websocket-accept"] == SAMPLE_ACCEPT
    assert headers["sec-websocket-protocol"] == SUBPROTOCOL
    assert (headers["upgrade"], headers["connection"]) == ("websocket", "Upgrade")
    assert "sec-websocket-extensions" not in headers


@pytest.mark.parametrize(
    "sent",
    [
        request("/session?x=1"),
        request(protocol=f"chat, {SUBPROTOCOL}"),
        request(Sec_WebSocket_Protocol="chat\r\nSec-WebSocket-Protocol: " + SUBPROTOCOL),
        request(Connection="keep-alive, Upgrade"),
        request(Connection="UPGRADE", Upgrade="WebSocket"),
        request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"),
        request(origin="http://127.0.0.1:8080"),
        request(Cookie="x" * 8_000),
    ],
)
def test_every_valid_form_of_the_request_is_accepted(sent: bytes) -> None:
    found = respond(sent)
    assert found.is_accepted
    assert "sec-websocket-extensions" not in head_of(found.data)[1], "nothing is compressed"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("/elsewhere"), 404),
        (request("/session/"), 404),
        (request(protocol="chat"), 400),
        (request(protocol=""), 400),
        (request(protocol="rookery.v1.jsonx"), 400),
        (request(origin="http://evil.example"), 403),
        (request(origin="null"), 403),
        (request(origin="http://127.0.0.1.evil.example"), 403),
        (request(origin="http://[::bad"), 403),
        (request(Upgrade=None, Connection="keep-alive"), 426),
        (request(Upgrade="h2c"), 426),
        (request(Connection="close"), 426),
        (request(Sec_WebSocket_Version="8"), 426),
        (request(Sec_WebSocket_Version="13, 8"), 426),
        (request(Sec_WebSocket_Version=None), 426),
        (request(Sec_WebSocket_Key=None), 400),
        (request(Sec_WebSocket_Key="c2hvcnQ="), 400),
        (request(Sec_WebSocket_Key="?" * 24), 400),
        (request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
        (request(Content_Length="5") + b"hello", 400),
        (request(Content_Length="5"), 400),
        (request(Host=None), 400),
        (request(Host="a\r\nHost: b"), 400),
        (request().replace(b"GET", b"POST"), 405),
        (request().replace(b"GET", b"HEAD"), 405),
        (request().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (request(Cookie="x" * (MAX_HEAD_BYTES + RECEIVE_BYTES)), 431),
        (b"GET /" + b"x" * MAX_HEAD_BYTES * 2, 431),
        (request(X="\r\na:" * MAX_FIELDS), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (request(Transfer_Encoding="gzip"), 400),
        (b"hello\r\n\r\n", 400),
    ],
)
def test_each_other_request_is_rejected_with_its_status(sent: bytes, status: int) -> None:
    found = respond(sent)
    assert not found.is_accepted
    found_status, headers = head_of(found.data)
    assert found_status == status
    assert headers["connection"] == "close"
    assert int(headers["content-length"]) > 1


def test_a_request_of_another_version_gets_the_right_one() -> None:
    assert head_of(respond(request(Sec_WebSocket_Version="12")).data)[1]["sec-websocket-version"] == "13"


def test_a_full_gateway_responds_with_retry_after() -> None:
    status, headers = head_of(respond(request(), is_full=True).data)
    assert (status, headers["retry-after"]) == (503, "5")


def test_pages_of_the_listed_origins_may_connect() -> None:
    listed = ["https://chat.example.org"]
    assert status_of(request(origin="https://chat.example.org"), listed) == 101
    assert status_of(request(origin="http://127.0.0.1:8080"), listed) == 403


@given(st.lists(st.integers(0, 300), max_size=10), st.binary(max_size=50))
def test_a_request_is_accepted_however_it_is_cut(cuts: list[int], behind: bytes) -> None:
    """The bytes after it are the client's first frames."""
    sent = request()
    edges = sorted({0, *(min(cut, len(sent) - 1) for cut in cuts), len(sent)})
    handshake, found = Handshake(()), None
    for start, end in pairwise(edges):
        found = handshake.feed(sent[start:end] + (behind if end == len(sent) else b""))
    assert found is not None
    assert found.is_accepted
    assert found.unread == behind


@given(st.binary(max_size=200), st.integers(0, 150))
def test_any_bytes_get_a_response_or_are_incomplete(data: bytes, start: int) -> None:
    found = Handshake(()).feed(request()[:start] + data or b"\r\n")
    assert found is None or head_of(found.data)[0] >= 101
