"""Animated GIF and WebP without their metadata: their bytes are parsed, and only the blocks that make the picture are
kept. Frames are not decoded, so a picture is neither changed nor expensive.

Bytes after the end of the picture are dropped, as are comments, camera data, and the data of programs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

MAX_FRAMES = 5_000
"""Frames of an animation, and how many pixels they may have together: viewers decode them again and again."""

MAX_ANIMATION_PIXELS = 2_000_000_000

_GIF_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
"""Applications whose data says how often the animation is repeated."""

_WEBP_CHUNKS = (b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")

_WEBP_FRAME_CHUNKS = (b"ALPH", b"VP8 ", b"VP8L")

_WEBP_PICTURES = (b"ANMF", b"VP8 ", b"VP8L")
"""Chunks with the pixels of a frame, or of a picture that is not animated."""

_WEBP_METADATA = 0x08 | 0x04
"""Flags of VP8X: the file has EXIF, and XMP."""


@dataclass(frozen=True, slots=True)
class Animation:
    """A picture without its metadata. With one frame it is not animated."""

    frames: int
    content: bytes


class Malformed(ValueError):
    """The bytes are not of the format, end early, or exceed a limit."""


class _Reader:
    """Reads bytes from the first to the last. Raises Malformed at the end."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, size: int) -> bytes:
        taken = self._content[self._at : self._at + size]
        if len(taken) < size:
            raise Malformed("it ends early")
        self._at += size
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._content)


class _Frames:
    """Counts frames. Raises Malformed above the limits."""

    def __init__(self) -> None:
        self.count = 0
        self._pixels = 0

    def add(self, width: int, height: int) -> None:
        self.count += 1
        self._pixels += width * height
        if self.count > MAX_FRAMES or self._pixels > MAX_ANIMATION_PIXELS:
            raise Malformed("it has too many frames")


def clean_gif(content: bytes) -> Animation:
    """Return a GIF without its metadata. Raises Malformed."""
    reader = _Reader(content)
    head = reader.take(13)
    if head[:6] not in (b"GIF87a", b"GIF89a"):
        raise Malformed("it is no GIF")
    frames = _Frames()
    kept = [head, _gif_palette(reader, head[10])]
    while (block := reader.byte()) != 0x3B:
        if block == 0x2C:
            place = reader.take(9)
            width, height = int.from_bytes(place[4:6], "little"), int.from_bytes(place[6:8], "little")
            frames.add(width, height)
            kept += [b"\x2c", place, _gif_palette(reader, place[8]), reader.take(1), *_gif_data(reader), b"\0"]
        elif block == 0x21:
            label, data = reader.byte(), list(_gif_data(reader))
            if label == 0xF9:
                kept += [b"\x21\xf9", *data[:1], b"\0"]
            elif label == 0xFF and data and data[0][1:] in _GIF_LOOPS:
                kept += [b"\x21\xff", *data[:2], b"\0"]
        else:
            raise Malformed(f"it has an unknown block: {block}")
    if not frames.count:
        raise Malformed("it has no picture")
    return Animation(frames.count, b"".join([*kept, b"\x3b"]))


def _gif_palette(reader: _Reader, flags: int) -> bytes:
    return reader.take(3 << (flags & 7) + 1) if flags & 0x80 else b""


def _gif_data(reader: _Reader) -> Iterator[bytes]:
    """Yield the sub-blocks of a block, each with its size before it."""
    while size := reader.byte():
        yield bytes([size]) + reader.take(size)


def clean_webp(content: bytes) -> Animation:
    """Return a WebP without its metadata. Raises Malformed."""
    reader = _Reader(content)
    head = reader.take(12)
    if head[:4] != b"RIFF" or head[8:] != b"WEBP":
        raise Malformed("it is no WebP")
    frames = _Frames()
    kept = []
    for name, data in _chunks(reader.take(int.from_bytes(head[4:8], "little") - 4)):
        if name == b"VP8X":
            data = bytes([data[0] & ~_WEBP_METADATA]) + data[1:]
        elif name == b"ANMF":
            place = _Reader(data).take(16)
            width, height = (int.from_bytes(place[i : i + 3], "little") + 1 for i in (6, 9))
            frames.add(width, height)
            data = place + b"".join(_chunk(*each) for each in _chunks(data[16:]) if each[0] in _WEBP_FRAME_CHUNKS)
        if name in _WEBP_CHUNKS:
            kept.append(_chunk(name, data))
    if not any(chunk.startswith(_WEBP_PICTURES) for chunk in kept):
        raise Malformed("it has no picture")
    body = b"WEBP" + b"".join(kept)
    return Animation(max(frames.count, 1), b"RIFF" + len(body).to_bytes(4, "little") + body)


def is_lossless_webp(content: bytes) -> bool:
    """Whether the pixels of a WebP that is not animated are encoded without loss. Raises Malformed."""
    return any(name == b"VP8L" for name, _ in _chunks(content[12:]))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and the data of chunks."""
    reader = _Reader(content)
    while not reader.is_at_end:
        name, size = reader.take(4), int.from_bytes(reader.take(4), "little")
        data = reader.take(size)
        if size % 2 and not reader.is_at_end:
            reader.take(1)
        if data:
            yield name, data


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)
