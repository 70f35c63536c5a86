"""JPEG and PNG without their metadata, for pictures that are not decoded, or not in full: their bytes are parsed, and
only the blocks that make the picture are kept, so no pixel changes. The orientation is kept too.

Bytes after the end of the picture are dropped: further pictures, the film of a moving one, and the data of programs.
"""

import re
from typing import Literal
from zlib import crc32

from shared.pictures.animations import Malformed, clean_gif, clean_webp

_JPEG_START = b"\xff\xd8"

_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA

_JPEG_BLOCKS = frozenset(range(0xC0, 0xE0)) - {0xC8, *range(0xD0, 0xDA)}
"""Tables, the size of the picture, and its scans. Comments and the blocks of applications are not among them."""

_JPEG_BARE_MARKERS = (0x01, *range(0xD0, 0xD9))
"""Markers without data, which mean nothing between two blocks."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)

_JPEG_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""The first marker after the data of a scan."""

_JPEG_EXIF = b"Exif\0\0"

_PNG_START = b"\x89PNG\r\n\x1a\n"

_PNG_HEAD_BYTES = 8
"""Bytes of the size and the name of a chunk. Its data and its checksum follow."""

_PNG_NAME = re.compile(rb"[A-Za-z]{4}")

_PNG_OPTIONAL = b"tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT acTL fcTL fdAT".split()
"""Chunks of transparency, colours, sizes and animation. Texts, the time and camera data are not among them."""

_ORIENTATION = 0x0112


def clean(content: bytes, media_type: str) -> bytes:
    """Return a picture without its metadata. Raises Malformed, also for AVIF and HEIC, which are not parsed."""
    match media_type:
        case "image/jpeg":
            return clean_jpeg(content)
        case "image/png":
            return clean_png(content)
        case "image/gif":
            return clean_gif(content).content
        case "image/webp":
            return clean_webp(content).content
    raise Malformed(f"{media_type} is not parsed")


def clean_jpeg(content: bytes) -> bytes:
    """Return a JPEG without its metadata; it may end early. Raises Malformed unless it has the data of a picture."""
    if content[:2] != _JPEG_START:
        raise Malformed("it is no JPEG")
    kept: list[bytes | memoryview] = [_JPEG_START]
    view, at, has_picture = memoryview(content), 2, False
    while found := _JPEG_MARKER.search(content, at):
        marker, start = content[found.end() - 1], found.end()
        if marker == _JPEG_END:
            kept.append(found[0])
            break
        if marker in _JPEG_BARE_MARKERS:
            at = start
            continue
        at = start + max(int.from_bytes(content[start : start + 2]), 2)
        if marker not in _JPEG_BLOCKS:
            kept.append(_jpeg_application(marker, content[start + 2 : at]))
            continue
        if marker == _JPEG_SCAN:
            has_picture = True
            end = _JPEG_SCAN_END.search(content, at)
            at = end.start() if end else len(content)
        kept += [found[0], view[start:at]]
    if not has_picture:
        raise Malformed("it has no picture")
    return b"".join(kept)


def _jpeg_application(marker: int, data: bytes) -> bytes:
    """Return a block of an application with the colours or the orientation only; empty for other metadata."""
    if marker == 0xE0 and data.startswith(b"JFIF\0"):
        return _jpeg_block(marker, data[:12] + bytes(2))  # without its thumbnail
    if marker == 0xE1 and data.startswith(_JPEG_EXIF):
        turn = turn_of(data[len(_JPEG_EXIF) :])
        return _jpeg_block(marker, _JPEG_EXIF + turn) if turn else b""
    is_colour = (marker == 0xE2 and data.startswith(b"ICC_PROFILE\0")) or (marker == 0xEE and data.startswith(b"Adobe"))
    return _jpeg_block(marker, data) if is_colour else b""


def _jpeg_block(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2) + data


def clean_png(content: bytes) -> bytes:
    """Return a PNG without its metadata; it may end early. Raises Malformed unless it has the data of a picture."""
    if not content.startswith(_PNG_START):
        raise Malformed("it is no PNG")
    kept: list[bytes | memoryview] = [_PNG_START]
    view, at, names = memoryview(content), len(_PNG_START), set()
    while at + _PNG_HEAD_BYTES <= len(content) and b"IEND" not in names:
        size, name = int.from_bytes(content[at : at + 4]), content[at + 4 : at + _PNG_HEAD_BYTES]
        if not _PNG_NAME.fullmatch(name):
            raise Malformed("it has a chunk without a name")
        names.add(name)
        start, at = at, at + _PNG_HEAD_BYTES + size + 4
        if name == b"eXIf":
            kept.append(_png_exif(turn_of(content[start + _PNG_HEAD_BYTES : at - 4])))
        elif name[:1].isupper() or name in _PNG_OPTIONAL:  # a capital letter: nobody can show the picture without it
            kept.append(view[start:at])
    if b"IDAT" not in names:
        raise Malformed("it has no picture")
    return b"".join(kept)


def _png_exif(turn: bytes) -> bytes:
    chunk = b"eXIf" + turn
    return len(turn).to_bytes(4) + chunk + crc32(chunk).to_bytes(4) if turn else b""


def turn_of(exif: bytes) -> bytes:
    """Return camera data (EXIF) with the orientation only. Empty if the picture is upright, or the camera data are
    broken."""
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], order)

    first = number(4, 4)
    fields = range(first + 2, first + 2 + 12 * number(first, 2), 12)
    turn = next((number(at + 8, 2) for at in fields if number(at, 2) == _ORIENTATION), 1)
    return b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([turn]) + bytes(6) if 1 < turn <= 8 else b""
