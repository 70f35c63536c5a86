"""The media type of a file, found in its first bytes, not from the file name, and not from the type that the
sender states.

The table is ours: libmagic is native code, the well-kept libraries in Python weigh the name, and they all find HTML,
SVG and scripts, which nobody may be served as such: these are text here, as all of UTF-8 is.
"""

import re
from collections.abc import Sequence

from shared.pictures.media_types import iso_picture_type

HEAD_BYTES = 4096
"""Bytes that are looked at."""

UNKNOWN = "application/octet-stream"

TEXT = "text/plain"

_SIGNATURES: Sequence[tuple[int, bytes, str]] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"8BPS\0\x01", "image/vnd.adobe.photoshop"),
    (0, b"\0\0\x01\0", "image/vnd.microsoft.icon"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (0, b"\0asm", "application/wasm"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"wOF2", "font/woff2"),
    (0, b"wOFF", "font/woff"),
    (0, b"OTTO\0", "font/otf"),
    (0, b"\0\x01\0\0\0", "font/ttf"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"MThd\0\0\0\x06", "audio/midi"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"\0\0\x01\xba", "video/mpeg"),
    (0, b"\0\0\x01\xb3", "video/mpeg"),
)
"""Offsets, bytes and types; the first that fits counts."""

_TEXTUAL = {b"%PDF-": "application/pdf", b"%!PS": "application/postscript", b"{\\rtf": "application/rtf"}
"""Beginnings of files that may be text throughout. No other type is looked for in a text."""

_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}

_AIFF = (b"AIFF", b"AIFC")

_BRANDS = {b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime"}
"""Major brands of ISO base media files; all others that are no pictures are `video/mp4`."""

_CONTAINERS = ("video/mp4", "video/webm", "video/ogg")
"""Types of files that may have sound alone."""

_OOXML = {
    b"word/": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    b"xl/": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    b"ppt/": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
"""By the folder of an entry."""

_ZIP_ENTRY = re.compile(rb"PK\x03\x04.{22}(?P<name_bytes>..)..", re.DOTALL)
"""The header of an entry, before its name."""

_STATED_TYPE = re.compile(rb"application/(epub\+zip|vnd\.oasis\.opendocument\.[a-z-]{1,40})")
"""The content of the first entry of an EPUB or OpenDocument file, named `mimetype`."""

_BINARY = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")
"""Control characters that no text has: all but white space and the ones that set colours in a terminal."""

_MPEG_AUDIO = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]", re.DOTALL)
"""The first frame of layer III: a valid version and bit rate. Layer II would be UTF-16, too."""


def sniff(head: bytes, *, is_voice: bool = False) -> str:
    """Return the media type of the file that begins with these bytes: HEAD_BYTES, or all. With `is_voice`, a file
    that may be audio or video is audio."""
    head = head[:HEAD_BYTES]
    if _is_text(head):
        return next((found for mark, found in _TEXTUAL.items() if head.startswith(mark)), TEXT)
    found = _binary_type(head) or UNKNOWN
    return found.replace("video/", "audio/") if is_voice and found in _CONTAINERS else found


def _binary_type(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        other = "video/3gpp" if head[8:11] == b"3gp" else "video/mp4"
        return _BRANDS.get(head[8:12]) or iso_picture_type(head) or other
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in _AIFF:
        return "audio/aiff"
    if head[:4] == b"OggS":
        return "video/ogg" if b"\x80theora" in head else "audio/ogg"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head[:4] == b"PK\x03\x04":
        return _zip_type(head)
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "image/bmp"
    if head[:2] == b"MZ":
        return "application/vnd.microsoft.portable-executable"
    if head[:2] in (b"\xff\xf1", b"\xff\xf9"):
        return "audio/aac"
    if _MPEG_AUDIO.match(head):
        return "audio/mpeg"
    return next((found for at, mark, found in _SIGNATURES if head.startswith(mark, at)), None)


def _zip_type(head: bytes) -> str:
    """The type of a zip file, whose first entries decide."""
    for entry in _ZIP_ENTRY.finditer(head):
        name = head[entry.end() : entry.end() + int.from_bytes(entry["name_bytes"], "little")]
        if name == b"mimetype" and (stated := _STATED_TYPE.match(head, entry.end() + len(name))):
            return stated[0].decode()
        for folder, found in _OOXML.items():
            if name.startswith(folder):
                return found
    return "application/zip"


def _is_text(head: bytes) -> bool:
    """Whether this is the beginning of a text in UTF-8. It may end within a character."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) < HEAD_BYTES or error.start < len(head) - 3 or error.reason != "unexpected end of data":
            return False
        text = head[: error.start].decode()
    return not _BINARY.search(text)
