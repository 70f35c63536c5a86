"""The purposes for which pictures are rendered."""

from enum import StrEnum

SQUARES = (96, 512)
"""The edges of the squares of an avatar, in pixels."""

PREVIEW_EDGE = 240
"""The longer edge of the picture in the preview of a link, at most, in pixels."""

PREVIEW_BYTES = 8 << 10
"""Most bytes of the picture in a preview: it is in an event, and not in the store of files."""


class Purpose(StrEnum):
    """The purpose of a rendered picture, which determines the result of the worker."""

    FILE = "file"
    """The picture without its metadata, and its thumbnails."""

    ORIGINAL = "original"
    """Thumbnails only."""

    CLEANED = "cleaned"
    """The picture without its metadata, but not decoded, and without thumbnails."""

    AVATAR = "avatar"
    """SQUARES of its centre."""

    PREVIEW = "preview"
    """One small picture."""
