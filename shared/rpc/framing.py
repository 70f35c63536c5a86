"""gRPC's message framing: one byte for the compression flag, four for the length, then the message.

Received bytes are stored unparsed until the reader takes a message, so that they take no more memory than the window
allows.
"""

import struct
import zlib
from collections.abc import Sequence

from shared.rpc.status import RpcError, Status

PREFIX = struct.Struct(">BI")

GZIP_WINDOW_BITS = 31
"""zlib's number for the gzip format with its header."""

GZIP_LEVEL = 6
"""zlib's default trade-off between speed and size."""


def frame_messages(messages: Sequence[bytes], *, compress: bool = False) -> bytes:
    """Frame the messages, one after the other."""
    parts: list[bytes] = []
    for message in messages:
        content = zlib.compress(message, GZIP_LEVEL, GZIP_WINDOW_BITS) if compress else message
        parts.append(PREFIX.pack(compress, len(content)))
        parts.append(content)
    return b"".join(parts)


def encode_varint(number: int) -> bytes:
    """Return the number, which is not negative, as protobuf encodes it."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


class MessageBuffer:
    """The received and unread bytes of one stream.

    Also counts the credit: the bytes by which the stream's window may be opened again.
    """

    __slots__ = ("_credited", "_data", "_max_message_bytes", "compressed", "credit", "took_compressed")

    def __init__(self, max_message_bytes: int, *, compressed: bool = False) -> None:
        self._data = bytearray()
        self._max_message_bytes = max_message_bytes
        self.compressed = compressed
        self.took_compressed = False
        """Whether the last message taken was compressed."""
        self._credited = 0  # bytes at the front of the data that are already in the credit
        self.credit = 0

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        """Append received bytes."""
        self._data += data

    def holds_at_most_one(self) -> bool:
        """Whether there is no byte after the first message. Raises RpcError as `take` does, except for compression."""
        prefix = self._prefix()
        return prefix is None or len(self._data) <= PREFIX.size + prefix[1]

    def take(self) -> bytes | None:
        """Return the next message; None if it is not complete yet.

        Raises RpcError if the message is too large, or its framing or compression is invalid.
        """
        prefix = self._prefix()
        if prefix is None:
            return None
        compressed, length = prefix
        end = PREFIX.size + length
        if len(self._data) < end:
            return None
        message = bytes(self._data[PREFIX.size : end])
        del self._data[:end]
        self.credit += max(end - self._credited, 0)
        self._credited = max(self._credited - end, 0)
        self.took_compressed = bool(compressed)
        return self._decompress(message) if compressed else message

    def _prefix(self) -> tuple[int, int] | None:
        """The compression flag and the length of the first message; None if they are not complete yet."""
        if len(self._data) < PREFIX.size:
            return None
        compressed, length = PREFIX.unpack_from(self._data)
        if compressed > 1:
            raise RpcError(Status.INTERNAL, "a message begins with a byte that is neither 0 nor 1")
        if length > self._max_message_bytes:
            raise RpcError(Status.RESOURCE_EXHAUSTED, f"a message of {length} bytes is over {self._max_message_bytes}")
        return compressed, length

    def credit_unread(self) -> None:
        """Credit all stored bytes: the reader waits for the rest of a message that may be larger than the window."""
        self.credit += len(self._data) - self._credited
        self._credited = len(self._data)

    def _decompress(self, message: bytes) -> bytes:
        if not self.compressed:
            raise RpcError(Status.INTERNAL, "a message is compressed, but no grpc-encoding was named")
        decompressor = zlib.decompressobj(GZIP_WINDOW_BITS)
        try:
            # One byte over the limit shows that the message is too large, without unpacking all of it.
            plain = decompressor.decompress(message, self._max_message_bytes + 1)
        except zlib.error:
            raise RpcError(Status.INTERNAL, "a message is not gzip") from None
        if len(plain) > self._max_message_bytes:
            raise RpcError(
                Status.RESOURCE_EXHAUSTED, f"a message is over {self._max_message_bytes} bytes when unpacked"
            )
        if not decompressor.eof:
            raise RpcError(Status.INTERNAL, "a message's gzip is cut off")
        return plain
