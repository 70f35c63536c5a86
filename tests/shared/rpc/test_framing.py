"""Message framing: messages survive any fragmentation and compression, within bounds."""

import gzip
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rpc.framing import PREFIX, MessageBuffer, frame_messages
from shared.rpc.status import RpcError, Status

LIMIT = 1_000


def pack(message: bytes, compressed: int = 1) -> bytes:
    return PREFIX.pack(compressed, len(message)) + message


@given(messages=st.lists(st.binary(max_size=300)), cuts=st.lists(st.integers(0, 2_000)))
def test_messages_survive_any_fragmentation(messages: list[bytes], cuts: list[int]) -> None:
    wire = frame_messages(messages)
    buffer = MessageBuffer(LIMIT)
    received: list[bytes] = []
    bounds = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    for start, end in pairwise(bounds):
        buffer.append(wire[start:end])
        while (message := buffer.take()) is not None:
            received.append(message)
    assert received == messages
    assert len(buffer) == 0


@given(messages=st.lists(st.binary(max_size=300)), chunk=st.integers(1, 100), waits=st.lists(st.booleans()))
def test_each_byte_is_credited_once(messages: list[bytes], chunk: int, waits: list[bool]) -> None:
    wire = frame_messages(messages)
    buffer = MessageBuffer(LIMIT)
    for step, start in enumerate(range(0, len(wire), chunk)):
        buffer.append(wire[start : start + chunk])
        while buffer.take() is not None:
            pass
        if step < len(waits) and waits[step]:
            buffer.credit_unread()
            assert buffer.credit == min(start + chunk, len(wire))
    assert buffer.credit == len(wire)


def test_an_incomplete_message_has_no_credit_until_its_reader_waits() -> None:
    buffer = MessageBuffer(LIMIT)
    buffer.append(frame_messages([b"x" * 100])[:50])
    assert buffer.take() is None
    assert buffer.credit == 0
    buffer.credit_unread()
    assert buffer.credit == 50


def test_a_gzip_message_is_unpacked() -> None:
    buffer = MessageBuffer(LIMIT, compressed=True)
    buffer.append(pack(gzip.compress(b"hello")) + pack(b"plain", compressed=0))
    assert buffer.take() == b"hello"
    assert buffer.take() == b"plain"


@pytest.mark.parametrize(
    ("wire", "compressed", "status"),
    [
        pytest.param(PREFIX.pack(0, LIMIT + 1), False, Status.RESOURCE_EXHAUSTED, id="too-large"),
        pytest.param(pack(gzip.compress(bytes(500_000))), True, Status.RESOURCE_EXHAUSTED, id="bomb"),
        pytest.param(pack(b"not gzip"), True, Status.INTERNAL, id="not-gzip"),
        pytest.param(pack(gzip.compress(b"hello")[:-9]), True, Status.INTERNAL, id="cut-off"),
        pytest.param(pack(gzip.compress(b"hello")), False, Status.INTERNAL, id="encoding-not-named"),
        pytest.param(pack(b"hello", compressed=2), True, Status.INTERNAL, id="neither-0-nor-1"),
    ],
)
def test_an_invalid_message_is_refused(wire: bytes, compressed: bool, status: Status) -> None:
    buffer = MessageBuffer(LIMIT, compressed=compressed)
    buffer.append(wire)
    with pytest.raises(RpcError) as failure:
        buffer.take()
    assert failure.value.status is status
