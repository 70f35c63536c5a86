"""gRPC's message framing: each message after a byte that says whether it is compressed and its length in four.

Received bytes are kept as they came and taken apart only when the reader asks, so they cost no more than the window
that they came through.
"""

import struct
import zlib
from collections.abc import Sequence

from shared.rpc.status import RpcError, Status

PREFIX = struct.Struct(">BI")

GZIP_WINDOW_BITS = 31
"""What zlib calls the format of gzip with its header."""


GZIP_LEVEL = 6
"""zlib's own choice between speed and size."""


def frame_messages(messages: Sequence[bytes], *, compress: bool = False) -> bytes:
    """The messages as they go on the wire, one after the other."""
    parts: list[bytes] = []
    for message in messages:
        content = zlib.compress(message, GZIP_LEVEL, GZIP_WINDOW_BITS) if compress else message
        parts.append(PREFIX.pack(compress, len(content)))
        parts.append(content)
    return b"".join(parts)


class MessageBuffer:
    """What one stream has received and nobody has taken yet.

    It also counts credit: how many bytes may be received again in place of those that were taken.
    """

    __slots__ = ("_credited", "_data", "_max_message_bytes", "compressed", "credit", "took_compressed")

    def __init__(self, max_message_bytes: int, *, compressed: bool = False) -> None:
        self._data = bytearray()
        self._max_message_bytes = max_message_bytes
        self.compressed = compressed
        self.took_compressed = False
        """Whether the message that was taken last had come compressed."""
        self._credited = 0  # bytes at the front of the data that credit was given for already
        self.credit = 0

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        """Keep what was received."""
        self._data += data

    def take(self) -> bytes | None:
        """The next message; None if it is not all there yet.

        Raises RpcError if it is too large, or not framed or compressed as it should be.
        """
        if len(self._data) < PREFIX.size:
            return None
        compressed, length = PREFIX.unpack_from(self._data)
        if compressed > 1:
            raise RpcError(Status.INTERNAL, "a message begins with a byte that is neither 0 nor 1")
        if length > self._max_message_bytes:
            raise RpcError(Status.RESOURCE_EXHAUSTED, f"a message of {length} bytes is over {self._max_message_bytes}")
        end = PREFIX.size + length
        if len(self._data) < end:
            return None
        message = bytes(self._data[PREFIX.size : end])
        del self._data[:end]
        self.credit += max(end - self._credited, 0)
        self._credited = max(self._credited - end, 0)
        self.took_compressed = bool(compressed)
        return self._decompress(message) if compressed else message

    def accept_rest(self) -> None:
        """Give credit for all that is there: its reader waits for the rest of a message larger than the window."""
        self.credit += len(self._data) - self._credited
        self._credited = len(self._data)

    def _decompress(self, message: bytes) -> bytes:
        if not self.compressed:
            raise RpcError(Status.INTERNAL, "a message is compressed, but no grpc-encoding was named")
        decompressor = zlib.decompressobj(GZIP_WINDOW_BITS)
        try:
            # One byte more than allowed, so that what is too large shows itself without being unpacked whole.
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
