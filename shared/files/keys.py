"""Keys of stored bytes: safe as a path and in a URL, and in the same order in every store."""

import re

from shared.contract.partitions import partition_of

MAX_KEY_BYTES = 200
"""A key is also a name in a folder, with a suffix; names there have at most 255 bytes."""

PICTURE = "picture"
"""The rendition of a picture that is read in place of its uploaded bytes: encoded again, without its camera's data."""

THUMBNAILS = (320, 800, 1600)
"""The longer edges of the thumbnails of a picture, in pixels; each is a rendition of that name."""

AVATARS = (96, 512)
"""The edges of the squares that are kept of an avatar, in pixels."""

FOLDERS = 4096
"""Folders in which the keys of files are spread, so that none of them has too many entries: 250 of a million files."""

AVATARS_FOLDER = "avatars/"
"""The beginning of the keys of avatars."""

OWNER_KEY = "platform"
"""The key of the name of the platform to which the store belongs, which no sweep deletes."""

_KEY = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")

_FILE_KEY = re.compile(r"[0-9a-f]{3}/([0-9]{1,19})(-[a-z0-9]+)?")

_AVATAR_KEY = re.compile(rf"{AVATARS_FOLDER}((?:g-)?[0-9]{{1,19}})/([A-Za-z0-9_-]+)-[0-9]+")


def check_key(key: str) -> None:
    """Raise ValueError unless the key is made of letters, digits, "_" and "-" of ASCII, in parts separated by "/", and
    has at most MAX_KEY_BYTES."""
    if len(key) > MAX_KEY_BYTES:
        raise ValueError(f"a key of {len(key)} characters: {MAX_KEY_BYTES} at most")
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key: letters, digits, _ and -, in parts separated by /")


def file_key(file_id: int, rendition: str = "") -> str:
    """Return the key of a file, or of one of its renditions: small letters and digits."""
    return f"{partition_of(file_id, FOLDERS):03x}/{file_id}" + (f"-{rendition}" if rendition else "")


def keys_of(file_id: int) -> list[str]:
    """Return all keys that a file may have."""
    return [file_key(file_id, rendition) for rendition in ("", PICTURE, *map(str, THUMBNAILS))]


def avatar_key(token: str, edge: int) -> str:
    """Return the key of a square of an avatar. Tokens are those of shared/contract/avatars.py."""
    place, _, secret = token.rpartition(".")
    return f"{AVATARS_FOLDER}{place}/{secret}-{edge}"


def avatar_keys(token: str) -> list[str]:
    """Return the keys of all squares of an avatar; none for an empty token."""
    return [avatar_key(token, edge) for edge in AVATARS] if token else []


def avatar_of(key: str) -> str | None:
    """Return the token of the avatar of which a square has this key; None for another key."""
    match = _AVATAR_KEY.fullmatch(key)
    return f"{match[1]}.{match[2]}" if match else None


def file_id_of(key: str) -> int | None:
    """Return the id of the file whose bytes, or whose rendition, have this key; None for another key."""
    match = _FILE_KEY.fullmatch(key)
    return int(match[1]) if match else None
