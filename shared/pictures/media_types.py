"""The media types that can be rendered, and how pictures are recognised."""

from typing import Literal

MediaType = Literal["image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/heic", "application/pdf"]
"""The media types that a worker can render. SVG is not among them, since it may have scripts."""

DOCUMENTS = ("application/pdf",)
"""The media types of documents, of which the first page is rendered."""

_SIGNATURES: tuple[tuple[int, bytes, MediaType], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
)

_AVIF = (b"avif", b"avis")

_HEIC = (b"heic", b"heix", b"heim", b"heis")

_HEIC_SEQUENCES = (b"hevc", b"hevx", b"hevm", b"hevs")

_ANY_CODEC = (b"mif1", b"msf1")
"""Major brands of pictures that may be AVIF or HEIC."""

_MAX_FTYP_BYTES = 1024
"""Bytes of the first box in which brands are looked for: some 250 of them."""


def picture_type(content: bytes) -> MediaType | None:
    """Return the media type of a picture by its first bytes; None for other content."""
    for start, mark, media_type in _SIGNATURES:
        if content.startswith(mark, start):
            return media_type
    return iso_picture_type(content)


def iso_picture_type(content: bytes) -> Literal["image/avif", "image/heic"] | None:
    """Return the media type of a picture in an ISO base media file by its major brand, or, if that names no codec, by
    its compatible brands; None for other content."""
    if content[4:8] != b"ftyp":
        return None
    major = content[8:12]
    box = content[: min(int.from_bytes(content[:4]), _MAX_FTYP_BYTES)]
    compatible = [box[at : at + 4] for at in range(16, len(box), 4)]  # after the version of the major brand
    if major in _AVIF or (major not in _HEIC + _HEIC_SEQUENCES and any(brand in _AVIF for brand in compatible)):
        return "image/avif"
    is_heic = major in _HEIC + _HEIC_SEQUENCES + _ANY_CODEC or any(brand in _HEIC for brand in compatible)
    return "image/heic" if is_heic else None
