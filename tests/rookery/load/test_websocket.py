"""The generator's own WebSocket frames."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.load.websocket import TEXT, client_message, take_messages


@given(st.lists(st.binary(max_size=300)), st.integers(1, 50))
def test_frames_are_found_however_they_are_cut(payloads: Sequence[bytes], cut: int) -> None:
    stream = b"".join(server_message(payload) for payload in payloads)
    buffer = bytearray()
    found = []
    for start in range(0, len(stream), cut):
        buffer += stream[start : start + cut]
        found += [payload for _, payload in take_messages(buffer)]
    assert found == list(payloads)
    assert not buffer


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_message_of_any_size_is_framed(size: int) -> None:
    frame = client_message(TEXT, b"x" * size)
    unmasked = bytes((frame[0], frame[1] & 0x7F)) + frame[2:].replace(b"\0\0\0\0", b"", 1)
    if size < 65_536:
        assert list(take_messages(bytearray(unmasked))) == [(TEXT, b"x" * size)]
    assert len(frame) == size + {0: 6, 125: 6, 126: 8, 65_535: 8, 65_536: 14}[size]


def server_message(payload: bytes) -> bytes:
    size = len(payload)
    return b"\x81" + (bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + payload
