"""WebSocket's messages, sans I/O: any fragmentation gives the same text, and every fault has its code."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from messaging.gateway.transports.messages import DONE, EXTRA_FRAMES, MessageReader, text_message
from tests.messaging.gateway.browsers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    close,
    frame,
    request,
)

LIMIT = 1_000


def read(data: bytes, limit: int = LIMIT) -> MessageReader:
    reader = MessageReader(limit)
    reader.feed(data, 0.0)
    return reader


def fragmented(fragments: list[bytes]) -> bytes:
    """One text message in fragments."""
    last = len(fragments) - 1
    return b"".join(
        frame(CONTINUATION if index else TEXT, fragment, flags=FIN if index == last else 0)
        for index, fragment in enumerate(fragments)
    )


@given(st.text(max_size=60), st.lists(st.integers(0, 240), max_size=8), st.lists(st.integers(1, 900), max_size=8))
def test_a_text_is_the_same_however_it_is_cut(text: str, cuts: list[int], reads: list[int]) -> None:
    """Into frames, also in the middle of characters; and into reads of the socket."""
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
    client.receive_data(text_message(text.encode()))
    received = [event for event in client.events() if isinstance(event, TextMessage)]
    assert "".join(event.data for event in received) == text
    assert received[-1].message_finished


@given(st.binary(max_size=400), st.integers(0, 60))
def test_any_bytes_come_to_messages_a_close_or_nothing(data: bytes, start: int) -> None:
    """The reader never raises, whatever a client sends."""
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


def test_control_frames_may_come_between_fragments() -> None:
    reader = MessageReader(LIMIT)
    pong = reader.feed(frame(TEXT, b"he", flags=0) + frame(PING, b"p" * 125), 0.0)
    assert pong == bytes((FIN | PONG, 125)) + b"p" * 125
    assert reader.feed(frame(PONG, b"unasked") + frame(CONTINUATION, b"llo"), 0.0) == b""
    assert list(reader.messages) == ["hello"]


FAULTS = {
    "unmasked": (frame(TEXT, b"x", mask=None), 1002),
    "unmasked ping": (frame(PING, mask=None), 1002),
    "RSV1, as of compression that was not agreed on": (frame(TEXT, b"x", flags=FIN | RSV1), 1002),
    "RSV2": (frame(TEXT, b"x", flags=FIN | RSV2), 1002),
    "RSV3 on a control frame": (frame(PING, flags=FIN | RSV3), 1002),
    "opcode 3": (frame(3, b"x"), 1002),
    "opcode 7, which is for data": (frame(7), 1002),
    "opcode 11, which is for control": (frame(11), 1002),
    "opcode 15": (frame(15, b"x"), 1002),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a close of 126 bytes": (close(1000, b"x" * 124), 1002),
    "a ping in fragments": (frame(PING, b"x", flags=0), 1002),
    "a close in fragments": (frame(CLOSE, flags=0), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "a message within a message": (frame(TEXT, b"{", flags=0) + frame(TEXT, b"x"), 1002),
    "a length in more bytes than it needs": (b"\x81\xfe\x00\x05" + bytes(4) + b"hello", 1002),
    "a length of 2^63": (b"\x81\xff" + (1 << 63).to_bytes(8, "big") + bytes(4), 1002),
    "a second request": (request(), 1002),
    "a binary message": (frame(BINARY, b"x"), 1003),
    "a binary message in fragments": (frame(BINARY, b"{", flags=0), 1003),
    "no UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "UTF-8 that ends in the middle": (frame(TEXT, "é".encode()[:1]), 1007),
    "UTF-8 of half a pair": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "UTF-8 in more bytes than it needs": (frame(TEXT, b"\xc0\xaf"), 1007),
    "a fragment that is no UTF-8": (frame(TEXT, b"\xff", flags=0), 1007),
    "too big in fragments": (frame(TEXT, b"x" * LIMIT, flags=0) + frame(CONTINUATION, b"x"), 1009),
    "a flood of pings": (frame(PING) * (EXTRA_FRAMES + 1), 1008),
    "a flood of empty fragments": (frame(TEXT, flags=0) + frame(CONTINUATION, flags=0) * EXTRA_FRAMES, 1008),
    "a close with half a code": (frame(CLOSE, b"\x03"), 1002),
    "a close with a reason that is no UTF-8": (close(1000, b"\xff"), 1007),
    **{
        f"a close with {code}": (close(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_its_close_code_and_no_later_frame_counts(name: str) -> None:
    sent, code = FAULTS[name]
    reader = read(sent + frame(TEXT, b"after"))
    assert not reader.messages
    answer = reader.close(DONE)
    assert (answer[0], answer[2:4]) == (FIN | CLOSE, code.to_bytes(2, "big"))
    assert len(answer[4:].decode()) <= 123


def test_frames_after_a_fault_are_not_kept() -> None:
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


def test_a_message_of_fragments_has_the_same_limit() -> None:
    assert list(read(fragmented([b"x" * 500, b"x" * 500])).messages) == ["x" * LIMIT]


def test_a_frame_of_exabytes_is_closed_once_the_limit_is_exceeded() -> None:
    reader = read(b"\x81\xff" + (1 << 62).to_bytes(8, "big") + bytes(4 + LIMIT))
    assert reader.closing is None
    reader.feed(bytes(1), 0.0)
    assert reader.closing is not None
    assert reader.closing.code == 1009


def test_of_several_pings_the_newest_is_answered() -> None:
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


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_own_code(code: int) -> None:
    reader = read(close(code, "✓".encode()))
    assert reader.is_over
    assert reader.close(DONE) == b"\x88\x05" + code.to_bytes(2, "big") + "✓".encode()


def test_a_close_without_a_code_is_answered_without_one() -> None:
    assert read(frame(CLOSE)).close(DONE) == b"\x88\x00"


def test_after_our_close_only_the_answer_counts() -> None:
    reader = MessageReader(LIMIT)
    reader.close(DONE)
    assert reader.feed(frame(TEXT, b"late") + frame(PING), 0.0) == b""
    assert not reader.messages
    assert not reader.is_over
    reader.feed(close(1000), 0.0)
    assert reader.is_over
    assert reader.closing == DONE


def test_empty_fragments_take_no_memory() -> None:
    reader = read(frame(TEXT, b"", flags=0))
    fragments = frame(CONTINUATION, b"", flags=0) * (EXTRA_FRAMES // 2)
    tracemalloc.start()
    for second in range(1, 31):
        reader.feed(fragments, float(second))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.closing is None
    assert size < 15_000, "less than a byte for each"
