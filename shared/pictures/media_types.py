"""The media types that can be rendered, and the signatures of pictures."""

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
    (4, b"ftypavi", "image/avif"),
    (4, b"ftyphei", "image/heic"),
    (4, b"ftypmif1", "image/heic"),
)


def picture_type(content: bytes) -> MediaType | None:
    """Return the media type of a picture by its first bytes; None for other content."""
    return next((found for start, mark, found in _SIGNATURES if content.startswith(mark, start)), None)
