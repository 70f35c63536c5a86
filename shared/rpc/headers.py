"""The fields of received headers, checked against HTTP/2 (RFC 9113, 8.2 and 8.3), and the encoding of sent ones.

h2 checks the same in a chain of generators that looks at each character: for the headers of a call that takes three
times as long.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import assert_never

from h2.exceptions import ProtocolError
from hpack.exceptions import HPACKDecodingError, OversizedHeaderListError
from hpack.hpack import Decoder, encode_integer
from hpack.struct import HeaderTuple

Headers = Sequence[tuple[bytes, bytes]]

FIELD_BYTES = 32
"""The overhead of a field in the size of headers, as HTTP/2 counts it."""

_NAME = re.compile(rb":?[!-9;-@\[-~]+")
_VALUE = re.compile(rb"(?![ \t])[^\0\r\n]*(?<![ \t])")
_COLON = ord(":")

_CONNECTION_FIELDS = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
"""Fields that HTTP/2 has no use for; a proxy that forwards them is open to request smuggling."""

_LONG = 127
"""The shortest string whose length takes more than one byte in a header block."""

_INDEXED, _ADDED, _TABLE_SIZE = 0x80, 0x40, 0x20
"""The first bits of a field: one from the table, one that is added to it; or the table's new size."""

_INDEX_BITS = 0x7F

_SIZE_CHANGES = 2
"""Most changes of the table's size in a block (RFC 7541, 4.2): the smallest size since the block before, and the last.
hpack accepts any number: 32,000 of them, of one byte each, took 65 ms."""

_STATUS_OK = (":status", "200")
_STATUS_OK_INDEXED = b"\x88"


class HeaderDecoder(Decoder):
    """hpack's decoder, in half of its time: most fields are references of one byte to the table."""

    def decode(self, data: bytes, raw: bool = True) -> list[HeaderTuple]:
        """Return the fields of a block as bytes. Raises HPACKError, and IndexError for a block that is cut off."""
        headers: list[HeaderTuple] = []
        size = start = changes = 0
        while start < len(data):
            first = data[start]
            if _INDEXED < first < _INDEXED | _INDEX_BITS:
                header, used = HeaderTuple(*self.header_table.get_by_index(first & _INDEX_BITS)), 1
            elif first & _TABLE_SIZE == _TABLE_SIZE and not first & (_INDEXED | _ADDED):
                changes += 1
                if headers or changes > _SIZE_CHANGES:
                    raise HPACKDecodingError("the size of the table changes within a block, or too often before it")
                start += self._update_encoding_context(data[start:])
                continue
            else:
                header, used = self._decode_long(first, data[start:])
            headers.append(header)
            start += used
            size += len(header[0]) + len(header[1]) + FIELD_BYTES
            if size > self.max_header_list_size:
                raise OversizedHeaderListError("the headers are larger than we take")
        self._assert_valid_table_size()
        return headers

    def _decode_long(self, first: int, data: bytes) -> tuple[HeaderTuple, int]:
        if first & _INDEXED:
            return self._decode_indexed(data)
        return self._decode_literal(data, should_index=bool(first & _ADDED))


class Part(Enum):
    """The part of a message to which headers belong."""

    REQUEST = 1
    RESPONSE = 2
    TRAILERS = 3


_REQUEST = frozenset((b":method", b":scheme", b":path"))
_CONNECT = frozenset((b":method",))
_EXTENDED_CONNECT = _REQUEST | {b":protocol"}
_RESPONSE = frozenset((b":status",))
_OPTIONAL = frozenset((b":authority",))
"""The optional pseudo-headers of a request."""


def read_headers(headers: Headers, part: Part) -> list[tuple[str, str]]:
    """Return the fields as text. Raises h2's ProtocolError for fields that HTTP/2 forbids in this part, and
    UnicodeDecodeError for values that are not UTF-8."""
    pseudo: dict[bytes, bytes] = {}
    hosts: list[bytes] = []
    for number, (name, value) in enumerate(headers):
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ProtocolError("a field has a character that is forbidden")
        if name[0] == _COLON:
            if name in pseudo or len(pseudo) < number:
                raise ProtocolError("a pseudo-header comes twice, or after a field")
            pseudo[name] = value
        elif name in _CONNECTION_FIELDS or (name == b"te" and value.lower() != b"trailers"):
            raise ProtocolError("a field belongs to a connection of HTTP/1")
        elif name == b"host":
            hosts.append(value)
    _check_pseudo_headers(pseudo, part)
    if part is Part.REQUEST:
        _check_request(pseudo, hosts)
    return [(name.decode(), value.decode()) for name, value in headers]


def encode_headers(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return a block that neither uses nor changes the table of header compression: it fits at any time."""
    block = bytearray()
    for field in fields:
        if field == _STATUS_OK:
            block += _STATUS_OK_INDEXED
        else:
            name, value = field[0].encode(), field[1].encode()
            block += b"\0%b%b%b%b" % (_length(name), name, _length(value), value)
    return bytes(block)


def _check_pseudo_headers(pseudo: Mapping[bytes, bytes], part: Part) -> None:
    required, optional = _pseudo_headers_of(part, pseudo)
    if not required <= pseudo.keys() <= required | optional:
        raise ProtocolError("a pseudo-header is missing, or belongs to another kind of message")


def _pseudo_headers_of(part: Part, pseudo: Mapping[bytes, bytes]) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Return the names of the required and of the optional pseudo-headers."""
    match part:
        case Part.TRAILERS:
            return frozenset(), frozenset()
        case Part.RESPONSE:
            return _RESPONSE, frozenset()
        case Part.REQUEST if pseudo.get(b":method") != b"CONNECT":
            return _REQUEST, _OPTIONAL
        case Part.REQUEST:
            return (_EXTENDED_CONNECT if b":protocol" in pseudo else _CONNECT), _OPTIONAL
        case _:
            assert_never(part)


def _check_request(pseudo: Mapping[bytes, bytes], hosts: Sequence[bytes]) -> None:
    if pseudo.get(b":path") == b"":
        raise ProtocolError("the path is empty")
    authority = pseudo.get(b":authority")
    names = {*hosts} if authority is None else {*hosts, authority}
    if len(names) != 1 or len(hosts) > 1:
        raise ProtocolError("a request has one authority")


def _length(string: bytes) -> bytes:
    length = len(string)
    return length.to_bytes() if length < _LONG else bytes(encode_integer(length, 7))
