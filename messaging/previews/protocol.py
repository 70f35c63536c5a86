"""Lines of JSON that the previewer and its worker exchange."""

from typing import Annotated

import msgspec

MAX_LINE_BYTES = 8 << 20
"""Most bytes of a line: a picture of 5 MiB in base64, and the texts."""


class Setup(msgspec.Struct):
    """The first line of the previewer."""

    proxy: str = ""
    allowed_networks: Annotated[list[str], msgspec.Meta(max_length=100)] = []


class PageRequest(msgspec.Struct):
    """A page that the previewer requests."""

    number: int
    url: str


class PageResponse(msgspec.Struct):
    """The page with this number; without any text and picture if there is none."""

    number: int
    title: str = ""
    description: str = ""
    site_name: str = ""
    picture: bytes = b""


class Lines:
    """Splits received bytes into lines. Sans-I/O."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def receive(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now. Raises ValueError for one that is too long."""
        start = len(self._rest)
        self._rest += data
        if b"\n" not in self._rest[start:]:
            if len(self._rest) > MAX_LINE_BYTES:
                raise ValueError(f"a line of more than {MAX_LINE_BYTES} bytes")
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return lines
