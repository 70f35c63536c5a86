"""Frequent frames are parsed without h2, with the same result as h2 for any fragmentation. Frames on closed streams
are discarded, or counted."""

from itertools import pairwise

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, PingReceived, RequestReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import DenialOfServiceError, FlowControlError
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from shared.rpc.headers import encode_headers
from shared.rpc.http2 import MAX_FRAME_BYTES, Http2Connection
from shared.rpc.limits import HTTP2_WINDOW, Limits

HEADERS = [(":method", "POST"), (":scheme", "http"), (":path", "/a/b"), (":authority", "x")]
STREAMS = 1, 3
NEVER_OPENED = 5


def connections() -> tuple[H2Connection, Http2Connection]:
    """Return a client with two open streams, and its server."""
    client, server = H2Connection(H2Configuration()), Http2Connection(Limits(), client_side=False)
    client.initiate_connection()
    server.initiate_connection()
    client.receive_data(server.data_to_send())
    for stream_id in STREAMS:
        client.send_headers(stream_id, HEADERS)
    server.receive_data(client.data_to_send())
    server.clear_outbound_data_buffer()
    return client, server


def comparable(event: Event) -> object:
    match event:
        case DataReceived():
            return event.stream_id, event.data, event.flow_controlled_length
        case PingReceived():
            return event.ping_data
        case StreamEnded():
            return event.stream_id
        case RequestReceived():
            return event.stream_id, event.headers
        case _:
            return type(event)


@st.composite
def calls(draw: st.DrawFn) -> bytes:
    """Headers on a stream with any id, whole or in two parts, with or without padding and end."""
    stream_id = draw(st.sampled_from([1, 4, 5, 7, 9, 11]))
    block = encode_headers(HEADERS) + draw(st.binary(max_size=3))
    flags = draw(st.sets(st.sampled_from(["END_STREAM", "PADDED", "PRIORITY"])))
    cut = draw(st.sampled_from([0, 9]))
    if not cut:
        return HeadersFrame(stream_id, block, flags=[*flags, "END_HEADERS"]).serialize()
    rest = ContinuationFrame(stream_id, block[cut:], flags=["END_HEADERS"])
    return HeadersFrame(stream_id, block[:cut], flags=[*flags]).serialize() + rest.serialize()


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["data", "data", "data", "padded", "empty", "ping", "end", "call", "call"]))
    stream_id = draw(st.sampled_from(STREAMS))
    if kind == "ping":
        return PingFrame(0, b"12345678").serialize()
    if kind == "call":
        return draw(calls())
    frame = DataFrame(stream_id, b"" if kind == "empty" else draw(st.binary(min_size=1, max_size=40)))
    if kind == "padded":
        frame.flags.add("PADDED")
        frame.pad_length = draw(st.integers(0, 20))
    if kind == "end":
        frame.flags.add("END_STREAM")
    return frame.serialize()


class _ByH2(Http2Connection):
    """Leaves all parsing to h2."""

    def _receive_messages(self, data: bytes, start: int) -> tuple[list[Event], int]:
        return [], start

    def _opening_frame(self, header: bytes, block: bytes) -> HeadersFrame | None:
        return None


@given(parts=st.lists(frames(), max_size=12), data=st.data())
def test_any_fragmentation_of_frames_returns_the_events_of_h2(parts: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(parts)
    cuts = sorted({0, len(wire), *data.draw(st.lists(st.integers(0, len(wire)), max_size=6))})
    _, ours = connections()
    _, by_h2 = connections()
    by_h2.__class__ = _ByH2
    outcomes = []
    for connection in (ours, by_h2):
        events: list[object] = []
        try:
            for start, end in pairwise(cuts):
                events += map(comparable, connection.receive_data(wire[start:end]))
        except Exception as error:
            events.append(type(error))
        outcomes.append((events, bytes(connection.data_to_send())))
    assert outcomes[0][1] == outcomes[1][1]
    if not any(isinstance(event, type) for events, _ in outcomes for event in events):
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("size", [1, 300, MAX_FRAME_BYTES])
def test_the_missing_bytes_of_a_frame_are_known_with_its_length(size: int) -> None:
    frame = DataFrame(1, b"x" * size).serialize()
    for cut in (0, 2, 3, 9, len(frame) - 1):
        _, server = connections()
        server.receive_data(PingFrame(0, b"12345678").serialize() + frame[:cut])
        assert server.missing_bytes == (len(frame) - cut if cut >= 3 else 0)
        assert len(server.receive_data(frame[cut:])) == 1
        assert server.missing_bytes == 0


@pytest.mark.parametrize("stream_id", STREAMS)
def test_data_beyond_the_window_ends_the_connection(stream_id: int) -> None:
    _, server = connections()
    frame = DataFrame(stream_id, b"x" * (16 * 1024)).serialize()
    with pytest.raises(FlowControlError):
        server.receive_data(frame * (HTTP2_WINDOW // (16 * 1024) + 2))
    assert (
        GoAwayFrame(0, error_code=ErrorCodes.FLOW_CONTROL_ERROR, last_stream_id=3).serialize() in server.data_to_send()
    )


def test_data_of_a_stream_that_was_never_opened_ends_the_connection() -> None:
    _, server = connections()
    with pytest.raises(Exception, match="5"):
        server.receive_data(DataFrame(NEVER_OPENED, b"x").serialize())


TRAILERS = HeadersFrame(1, b"\x00\x01x\x01y", flags=["END_HEADERS", "END_STREAM"]).serialize()
ENDED = DataFrame(1, b"x", flags=["END_STREAM"]).serialize()
MANY = Limits().idle_frames + 1


def reset_connections() -> tuple[H2Connection, Http2Connection]:
    """Return a client, and its server, which has reset the client's first stream."""
    client, server = connections()
    server.reset_stream(1, ErrorCodes.CANCEL)
    server.clear_outbound_data_buffer()
    return client, server


@pytest.mark.parametrize(
    "frame", [DataFrame(1, b"x" * 500), DataFrame(1, b"x" * 2_000, flags=["PADDED"], pad_length=9)]
)
def test_data_of_a_stream_that_we_have_reset_is_discarded_and_its_window_given_back(frame: DataFrame) -> None:
    """The client may have sent a whole window before it receives the reset: all of it is legitimate."""
    _, server = reset_connections()
    window, size = Limits().connection_window, frame.flow_controlled_length
    for _ in range(0, 3 * window, size * 100):
        assert server.receive_data(frame.serialize() * 100) == []
        assert window // 2 < server.inbound_flow_control_window <= window
        assert server.data_to_send()[:9] in (b"", WindowUpdateFrame(0, window_increment=1).serialize()[:9])


@pytest.mark.parametrize("end", [ENDED, TRAILERS], ids=["data", "headers"])
def test_a_stream_that_we_have_reset_can_be_ended_once(end: bytes) -> None:
    _, server = reset_connections()
    assert server.receive_data(end) == []
    assert server.data_to_send() == b""
    with pytest.raises(DenialOfServiceError):
        server.receive_data(ENDED * MANY)


def test_headers_of_a_stream_that_we_have_reset_keep_the_compression_in_step() -> None:
    client, server = reset_connections()
    client.send_headers(1, [("new", "name")], end_stream=True)
    client.send_headers(5, [*HEADERS, ("new", "name")])
    (request,) = server.receive_data(client.data_to_send())
    assert isinstance(request, RequestReceived)
    assert (b"new", b"name") in request.headers


@pytest.mark.parametrize(
    ("before", "frame"),
    [
        (RstStreamFrame(1).serialize(), DataFrame(1, b"x").serialize()),
        (RstStreamFrame(1).serialize(), ENDED),
        (RstStreamFrame(1).serialize(), TRAILERS),
        (b"", DataFrame(1, b"x", flags=["PADDED"]).serialize()),
    ],
    ids=["data-after-reset", "end-after-reset", "headers-after-reset", "padding"],
)
def test_too_many_frames_that_no_client_sends_end_the_connection(before: bytes, frame: bytes) -> None:
    _, server = connections()
    server.receive_data(before)
    server.receive_data(frame * (MANY // 2))
    with pytest.raises(DenialOfServiceError):
        server.receive_data(frame * MANY)


def test_frames_that_data_has_earned_stay_until_the_peer_sends_them() -> None:
    _, server = connections()
    count = Limits().idle_frames
    for _ in range(count):
        server.send_data_frame(1, b"x")
    server.forgive_idle_frames(1.0)
    opened = b"".join(WindowUpdateFrame(stream_id, window_increment=1).serialize() for stream_id in (0, 1))
    server.receive_data(opened * count)
    with pytest.raises(DenialOfServiceError):
        server.receive_data(opened * count)


def send_after_the_end(kind: type[DataFrame | HeadersFrame], client: H2Connection, server: Http2Connection) -> None:
    """Open and end many streams, and send one more frame on each, for which the server resets it."""
    for stream_id in range(5, 2 * MANY + 7, 2):
        client.send_headers(stream_id, HEADERS, end_stream=True)
        late = kind(stream_id, b"\x88", flags=["END_HEADERS"] if kind is HeadersFrame else [])
        server.receive_data(client.data_to_send() + late.serialize())
        resets = client.receive_data(server.data_to_send())
        assert [event.stream_id for event in resets if isinstance(event, StreamReset)] == [stream_id]


@pytest.mark.parametrize("kind", [DataFrame, HeadersFrame])
def test_streams_that_make_us_reset_them_are_counted(kind: type[DataFrame | HeadersFrame]) -> None:
    """CVE-2025-8671: a frame after the end of a stream makes the server reset it; the client sends no reset."""
    client, server = connections()
    with pytest.raises(DenialOfServiceError):
        send_after_the_end(kind, client, server)


@pytest.mark.parametrize("table_bytes", [4_096, 0])
@pytest.mark.parametrize("message", ["short", "x" * (MAX_FRAME_BYTES + 1)], ids=["short", "long"])
def test_last_headers_are_those_of_h2(message: str, table_bytes: int) -> None:
    """Also if the peer's table has another size, or the headers need several frames."""
    client, server = connections()
    client.update_settings({SettingCodes.HEADER_TABLE_SIZE: table_bytes})
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    fields = [(":status", "200"), ("grpc-status", "0"), ("grpc-message", message)]
    for stream_id in STREAMS:
        client.end_stream(stream_id)
        server.receive_data(client.data_to_send())
        server.send_last_headers(stream_id, fields)
        response, ended = client.receive_data(server.data_to_send())
        assert isinstance(response, ResponseReceived)
        assert [(name.decode(), value.decode()) for name, value in response.headers] == fields
        assert isinstance(ended, StreamEnded)
        assert not server.is_open(stream_id)
