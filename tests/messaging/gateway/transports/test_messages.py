"""WebSocket's messages without I/O: any fragmentation gives the same text, and every fault has its code."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from messaging.gateway.transports.messages import DONE, EXTRA_FRAMES, MessageReader, text_message
from tests.messaging.gateway.browsers import BINARY, CONTINUATION, FIN, PING, PONG, TEXT, close, frame

LIMIT = 1_000


def read(data: bytes, limit: int = LIMIT) -> MessageReader:
    reader = MessageReader(limit)
    reader.feed(data, 0.0)
    return reader


def fragmented(pieces: list[bytes]) -> bytes:
    """One text message in pieces."""
    last = len(pieces) - 1
    return b"".join(
        frame(CONTINUATION if index else TEXT, piece, flags=FIN if index == last else 0)
        for index, piece in enumerate(pieces)
    )


@given(st.text(max_size=60), st.lists(st.integers(0, 240), max_size=8), st.lists(st.integers(1, 900), max_size=8))
def test_a_text_is_the_same_however_it_is_cut(text: str, cuts: list[int], reads: list[int]) -> None:
    """Into frames, in the middle of characters too; and into what the socket gives at once."""
    data = text.encode()
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    sent = fragmented([data[start:end] for start, end in pairwise(ends)])
    edges = [0, *sorted(min(edge, len(sent)) for edge in reads), len(sent)]
    reader = MessageReader(LIMIT)
    for start, end in pairwise(edges):
        reader.feed(sent[start:end], 0.0)
    assert list(reader.messages) == [text]
    assert reader.closing is None


@given(st.text(max_size=300) | st.sampled_from(["x" * 125, "x" * 126, "x" * 65_535, "x" * 65_536]))
def test_a_text_message_is_read_by_another_implementation(text: str) -> None:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(text_message(text))
    received = [event for event in client.events() if isinstance(event, TextMessage)]
    assert "".join(event.data for event in received) == text
    assert received[-1].message_finished


@given(st.binary(max_size=400), st.integers(0, 60))
def test_any_bytes_come_to_messages_a_close_or_nothing(data: bytes, start: int) -> None:
    """A decoder that met every input: it never raises, and never holds more than its limit and one read."""
    reader = read(frame(TEXT, b"hello")[:start] + data)
    if reader.closing is not None:
        answer = reader.close(DONE)
        assert answer[0] == 0x88
        assert len(answer) <= 2 + 125


@given(st.lists(st.text(max_size=30), max_size=10))
def test_messages_before_a_fault_are_taken_first(texts: list[str]) -> None:
    sent = b"".join(frame(TEXT, text.encode()) for text in texts)
    reader = read(sent + frame(TEXT, b"\xff") + frame(TEXT, b"after"))
    assert list(reader.messages) == texts
    assert reader.closing is not None
    assert reader.closing.code == 1007


def test_what_comes_after_a_fault_is_not_kept() -> None:
    reader = read(frame(BINARY, b"x"))
    for _ in range(100):
        assert reader.feed(frame(PING, b"x") + frame(TEXT, b"y" * 500), 0.0) == b""
    assert not reader.messages
    assert reader.closing is not None
    assert reader.closing.code == 1003


@pytest.mark.parametrize("character", ["x", "é", "👍"])
def test_the_limit_is_in_bytes(character: str) -> None:
    size = len(character.encode())
    count = LIMIT // size
    assert list(read(frame(TEXT, character.encode() * count)).messages) == [character * count]
    too_big = read(frame(TEXT, character.encode() * (count + 1)))
    assert not too_big.messages
    assert too_big.closing is not None
    assert too_big.closing.code == 1009


def test_a_message_of_pieces_has_the_same_limit() -> None:
    assert list(read(fragmented([b"x" * 500, b"x" * 500])).messages) == ["x" * LIMIT]
    closing = read(fragmented([b"x" * 500, b"x" * 500, b"x"])).closing
    assert closing is not None
    assert closing.code == 1009


def test_of_pings_that_came_together_the_newest_is_answered() -> None:
    reader = MessageReader(LIMIT)
    pong = reader.feed(b"".join(frame(PING, bytes([number])) for number in range(10)), 0.0)
    assert pong == bytes((0x80 | PONG, 1, 9))


@pytest.mark.parametrize("extra", [frame(PING), frame(PONG, b"x"), frame(CONTINUATION, b"", flags=0)])
def test_frames_that_end_no_message_have_a_rate(extra: bytes) -> None:
    reader = read(frame(TEXT, b"", flags=0))
    for second in range(5):
        reader.feed(extra * (EXTRA_FRAMES - 1), float(second))
    assert reader.closing is None
    reader.feed(extra * EXTRA_FRAMES, 4.0)
    assert reader.closing is not None
    assert reader.closing.code == 1008


def test_a_close_is_answered_with_its_own_code() -> None:
    reader = read(close(4321, b"bye"))
    assert reader.is_over
    assert reader.close(DONE) == b"\x88\x05" + (4321).to_bytes(2, "big") + b"bye"


def test_a_close_without_a_code_is_answered_without_one() -> None:
    assert read(frame(0x8)).close(DONE) == b"\x88\x00"


def test_after_our_close_only_the_answer_counts() -> None:
    reader = MessageReader(LIMIT)
    reader.close(DONE)
    assert reader.feed(frame(TEXT, b"late") + frame(PING), 0.0) == b""
    assert not reader.messages
    assert not reader.is_over
    reader.feed(close(1000), 0.0)
    assert reader.is_over
    assert reader.closing == DONE


def test_empty_pieces_take_no_room() -> None:
    reader = read(frame(TEXT, b"", flags=0))
    pieces = frame(CONTINUATION, b"", flags=0) * (EXTRA_FRAMES // 2)
    tracemalloc.start()
    for second in range(1, 31):
        reader.feed(pieces, float(second))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.closing is None
    assert size < 15_000, "less than a byte for each"
