"""Media types, found in the first bytes of files."""

import io
import struct
import zipfile

import pytest

from bff.files.sniffing import HEAD_BYTES, sniff

BINARY = bytes(range(256))


def zipped(*entries: str, content: bytes = b"x") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for entry in entries:
            archive.writestr(entry, content)
    return file.getvalue()


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    """The first box of an ISO base media file."""
    return struct.pack(">I4s4sI", 16 + 4 * len(compatible), b"ftyp", major, 0) + b"".join(compatible)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"\x89PNG\r\n\x1a\n" + BINARY, "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF89a" + BINARY, "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
        (b"RIFF\x24\0\0\0????", "application/octet-stream"),
        (b"\0\0\0\x1cftypavif", "image/avif"),
        (b"\0\0\0\x1cftypheic", "image/heic"),
        (ftyp(b"mif1", b"mif1", b"avif", b"miaf"), "image/avif"),
        (ftyp(b"msf1", b"heic", b"avis"), "image/avif"),
        (ftyp(b"MA1B", b"avif"), "image/avif"),
        (ftyp(b"mif1", b"heic"), "image/heic"),
        (ftyp(b"heic", b"avif"), "image/heic"),
        (ftyp(b"MiHE", b"mif1", b"heix"), "image/heic"),
        *((ftyp(major), "image/heic") for major in (b"mif1", b"msf1", b"heim", b"heis", b"hevc", b"hevm")),
        (ftyp(b"isom", b"mp41", b"hevc", b"mif1"), "video/mp4"),
        (ftyp(b"isom") + b"avif", "video/mp4"),
        (b"\xff\xff\xff\xffftypisom\0\0\0\0" + b"mp41" * 1020 + b"avif", "video/mp4"),
        (b"\0\0\0\x1cftypM4A ", "audio/mp4"),
        (b"\0\0\0\x1cftyp3gp4", "video/3gpp"),
        (b"\0\0\0\x1cftypisom", "video/mp4"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "video/webm"),
        (b"OggS\0\2" + bytes(20) + b"OpusHead", "audio/ogg"),
        (b"OggS\0\2" + bytes(20) + b"\x80theora", "video/ogg"),
        (b"BM" + struct.pack("<IHH", 999, 0, 0), "image/bmp"),
        (b"ID3\4\0" + BINARY, "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"%PDF-1.7\n%\xe2\xe3", "application/pdf"),
        (b"%PDF-1.4\n% of ASCII alone", "application/pdf"),
        (zipped("a.txt"), "application/zip"),
        (
            zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (zipped("mimetype", content=b"application/epub+zip"), "application/epub+zip"),
        (zipped("mimetype", content=b"text/html"), "application/zip"),
        (b"PK\3\4" * 1024, "application/zip"),
        (b"PK\3\4" + b"\xff" * 4092, "application/zip"),
        (b"%PDF-1.4\n<script>alert(1)</script>", "application/pdf"),
        (b"\xff\xd8\xff\xe1*/=alert(1)/*", "image/jpeg"),
        (bytes(257) + b"ustar\0", "application/x-tar"),
        (b"MZ\x90\0\3", "application/vnd.microsoft.portable-executable"),
        (b"MZ is the beginning of a sentence.", "text/plain"),
        (b"GIF89a=1/*a script that pretends to be a picture*/", "text/plain"),
        (b"<!doctype html><script>alert(1)</script>", "text/plain"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "text/plain"),
        (b"", "text/plain"),
        ("Grüße".encode() * 1000, "text/plain"),
        ("Grüße".encode()[:3], "application/octet-stream"),
        ("x".encode("utf-16"), "application/octet-stream"),
        (b"text with\0a null", "application/octet-stream"),
        (BINARY, "application/octet-stream"),
    ],
)
def test_the_type_is_that_of_the_content(head: bytes, found: str) -> None:
    assert sniff(head) == found


def test_a_text_may_be_cut_off_within_a_character() -> None:
    for before in range(4):
        assert sniff(b"x" * before + "𝄞".encode() * HEAD_BYTES) == "text/plain"


def test_a_voice_message_is_audio_but_not_by_its_statement_alone() -> None:
    assert sniff(b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", is_voice=True) == "audio/webm"
    assert sniff(b"\0\0\0\x1cftypisom", is_voice=True) == "audio/mp4"
    assert sniff(b"\x89PNG\r\n\x1a\n" + BINARY, is_voice=True) == "image/png"
