"""Received headers pass the same checks as h2's, and header blocks decode as hpack decodes them."""

from typing import cast

import pytest
from h2.exceptions import ProtocolError
from h2.utilities import HeaderValidationFlags, validate_headers
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hpack.hpack import decode_integer
from hypothesis import example, given
from hypothesis import strategies as st

from shared.rpc.headers import FIELD_BYTES, HeaderDecoder, Part, encode_headers, read_headers

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b"), (b":authority", b"x")]

FLAGS = {
    Part.REQUEST: HeaderValidationFlags(False, False, False, False),
    Part.RESPONSE: HeaderValidationFlags(True, False, True, False),
    Part.TRAILERS: HeaderValidationFlags(True, True, False, False),
}

NAMES = [b":method", b":scheme", b":path", b":authority", b":status", b":protocol", b":other", b":", b"host", b"te"]
NAMES += [b"connection", b"keep-alive", b"upgrade", b"x", b"a b", b"A", b"a:b", b"::x", b"", b"\x7f", b"\xff", b"-_~!"]
VALUES = [
    b"POST",
    b"CONNECT",
    b"",
    b"trailers",
    b"Trailers",
    b"gzip",
    b"x",
    b"/",
    b" x",
    b"x\t",
    b"a b",
    b"a\nb",
    b"\0",
]
VALUES += [b"\x7f\xc3\xa9", b"\r", b" "]

fields = st.tuples(st.sampled_from(NAMES) | st.binary(max_size=3), st.sampled_from(VALUES) | st.binary(max_size=3))
field_lists = st.builds(
    list.__add__, st.sampled_from([[], REQUEST, [(b":status", b"200")]]), st.lists(fields, max_size=5)
)


def decided(headers: list[tuple[bytes, bytes]], part: Part) -> object:
    try:
        return read_headers(headers, part)
    except (ProtocolError, UnicodeDecodeError) as error:
        return type(error)


def decided_by_h2(headers: list[tuple[bytes, bytes]], part: Part) -> object:
    try:
        return [(name.decode(), value.decode()) for name, value in list(validate_headers(headers, FLAGS[part]))]
    except (ProtocolError, UnicodeDecodeError) as error:
        return type(error)


@given(headers=field_lists, part=st.sampled_from(Part))
@example(headers=[(b":method", b"CONNECT"), (b":authority", b"x")], part=Part.REQUEST)
@example(headers=[(b":method", b"CONNECT"), *REQUEST[1:], (b":protocol", b"x")], part=Part.REQUEST)
@example(headers=[*REQUEST, (b":protocol", b"x")], part=Part.REQUEST)
@example(headers=[*REQUEST[:3], (b"host", b"x"), (b"host", b"x")], part=Part.REQUEST)
@example(headers=[*REQUEST, (b"host", b"x")], part=Part.REQUEST)
@example(headers=[*REQUEST, (b"host", b"y")], part=Part.REQUEST)
def test_headers_are_refused_exactly_if_h2_refuses_them(headers: list[tuple[bytes, bytes]], part: Part) -> None:
    assert decided(headers, part) == decided_by_h2(headers, part)


def decoded(decoder: Decoder, block: bytes) -> object:
    try:
        return [(name, value) for name, value in decoder.decode(block, raw=True)]
    except (HPACKError, IndexError, UnicodeDecodeError) as error:
        return type(error)


def changes_of_the_table(block: bytes) -> int:
    """The changes of the table's size at the beginning of the block, which hpack does not bound."""
    changes = start = 0
    while start < len(block) and block[start] & 0xE0 == 0x20:
        changes += 1
        try:
            start += decode_integer(block[start:], 5)[1]
        except HPACKError:
            break
    return changes


texts = st.lists(st.tuples(st.binary(max_size=130), st.binary(max_size=130)), max_size=4)
blocks = st.lists(st.binary(max_size=20) | texts | st.just(REQUEST), max_size=6)


@given(blocks=blocks, sizes=st.lists(st.integers(0, 5_000), max_size=6))
def test_blocks_are_decoded_as_hpack_decodes_them(
    blocks: list[bytes | list[tuple[bytes, bytes]]], sizes: list[int]
) -> None:
    ours, theirs, encoder = HeaderDecoder(), Decoder(), Encoder()
    for decoder in (ours, theirs):
        decoder.max_header_list_size = 400
    for number, block in enumerate(blocks):
        if number < len(sizes):
            encoder.header_table_size = sizes[number]
        wire = block if isinstance(block, bytes) else encoder.encode(block)
        if changes_of_the_table(wire) > 2:
            assert issubclass(cast(type, decoded(ours, wire)), HPACKError)
            return
        outcome = decoded(ours, wire)
        assert outcome == decoded(theirs, wire)
        if isinstance(outcome, type):
            return  # ends the connection
        assert ours.header_table.dynamic_entries == theirs.header_table.dynamic_entries


@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=300))))
def test_encoded_headers_leave_the_table_as_it_is(fields: list[tuple[str, str]]) -> None:
    fields = [(":status", "200"), *fields]
    decoder = Decoder(max_header_list_size=10**6)
    decoded = decoder.decode(encode_headers(fields), raw=True)
    assert [(name.decode(), value.decode()) for name, value in decoded] == fields
    assert not decoder.header_table.dynamic_entries


def test_headers_count_with_their_overhead() -> None:
    block, decoder = encode_headers([("a", "b")] * 10), HeaderDecoder()
    decoder.max_header_list_size = 10 * (FIELD_BYTES + 2)
    assert len(decoder.decode(block)) == 10
    decoder.max_header_list_size -= 1
    with pytest.raises(HPACKError):
        decoder.decode(block)
