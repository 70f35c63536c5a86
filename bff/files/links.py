"""Signed links of files: they state the file, the message, the user and the expiry.

    /files/123/photo.jpg?user=5&sign_in=ab…&chat=g-7&message=9&rendition=320&expires=1800000000&key=3f…&signature=…

A link only identifies its user: whether they may read the file is checked at each request. Nobody needs an account for
it, so that it works as the source of a picture. A link with a report is an admin's, who reads the file as a part of it.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from bff.files.models import Link
from bff.files.served import served
from rookery.v1.files_pb2 import FileInfo
from shared.accounts.tokens import SigningKeys, link_secret
from shared.contract.ids import MAX_ID

WINDOW_SECONDS = 300
"""Time in which the links of a user stay the same, so that browsers have the files in their cache. A link is valid for
one to two windows."""

_FIELDS = ("user", "sign_in", "chat", "message", "report", "rendition", "download", "expires", "key", "signature")


@dataclass(frozen=True, slots=True)
class FileLink:
    """The statements of a link. `expires_at` is in seconds since 1970."""

    file_id: int
    user_id: int
    sign_in_id: str
    expires_at: int
    chat_id: str = ""
    message_id: int = 0
    """The message in which the user reads the file; 0 if they are its owner."""
    rendition: str = ""
    is_download: bool = False
    """Whether a browser saves the file, and never shows it."""
    report_id: int = 0
    """The report in which an admin reads the message; 0 if the user reads it in the chat."""


class FileLinks:
    """Signs links, and verifies them, with a secret that all BFFs make of the platform's signing keys."""

    def __init__(self, keys: SigningKeys, clock_ms: Callable[[], int]) -> None:
        self._keys = keys
        self._clock_ms = clock_ms

    def expiry(self, user_id: int) -> int:
        """Return when a link that is made now expires, in seconds since 1970. Windows of users begin at different
        moments, so that not all clients ask for new links at once."""
        earliest = self._clock_ms() // 1000 + WINDOW_SECONDS
        return earliest + (user_id - earliest) % WINDOW_SECONDS

    async def url(self, link: FileLink, name: str) -> str:
        """Return the path and query of a link. The name, which is not signed, is for people. Raises Unavailable."""
        key_id, key = await self._keys.newest()
        query = _signed_query(link, key_id)
        signature = _signature(link_secret(key), link.file_id, query)
        return f"/files/{link.file_id}/{quote(name, safe='')}?{query}&signature={signature}"

    async def sign(self, link: FileLink, file: FileInfo) -> Link:
        """Return the link of this file as a response has it. Raises Unavailable."""
        url = await self.url(link, served(file, link.rendition).name)
        expires_at_ms = str(link.expires_at * 1000)
        return Link(file_id=str(link.file_id), rendition=link.rendition, url=url, expires_at_ms=expires_at_ms)

    async def verify(self, file_id: int, query: bytes) -> FileLink | None:
        """Return the link of this file with this query; None if it is not one of ours, or has expired. Raises
        Unavailable."""
        fields = _fields_of(query)
        link, key_id = _link_of(file_id, fields), fields.get("key", "")
        if link is None or link.expires_at * 1000 <= self._clock_ms():
            return None
        key = await self._keys.find(key_id)
        if key is None:
            return None
        expected = _signature(link_secret(key), file_id, _signed_query(link, key_id))
        return link if hmac.compare_digest(expected.encode(), fields.get("signature", "").encode()) else None


def _signed_query(link: FileLink, key_id: str) -> str:
    """Return the query without the signature. Fields that are empty are left out."""
    fields = {
        "user": link.user_id,
        "sign_in": link.sign_in_id,
        "chat": link.chat_id,
        "message": link.message_id or "",
        "report": link.report_id or "",
        "rendition": link.rendition,
        "download": 1 if link.is_download else "",
        "expires": link.expires_at,
        "key": key_id,
    }
    return urlencode({name: value for name, value in fields.items() if value != ""})


def _signature(secret: bytes, file_id: int, query: str) -> str:
    digest = hmac.digest(secret, f"{file_id}?{query}".encode(), "sha256")
    return urlsafe_b64encode(digest).decode().rstrip("=")


def _fields_of(query: bytes) -> dict[str, str]:
    """Return the fields of a query; none if one is unknown or occurs twice."""
    try:
        pairs = parse_qsl(query.decode(), strict_parsing=True, errors="strict", max_num_fields=len(_FIELDS))
    except ValueError:
        return {}
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) and fields.keys() <= set(_FIELDS) else {}


def _link_of(file_id: int, fields: dict[str, str]) -> FileLink | None:
    """Return the link with these fields, without a check of its signature; None if a field is missing or invalid."""
    try:
        return FileLink(
            file_id,
            _number(fields["user"]),
            fields["sign_in"],
            _number(fields["expires"]),
            fields.get("chat", ""),
            _number(fields.get("message", "0")),
            fields.get("rendition", ""),
            fields.get("download") == "1",
            _number(fields.get("report", "0")),
        )
    except (KeyError, ValueError):
        return None


def _number(text: str) -> int:
    """Raises ValueError unless the text is a number of 0 to MAX_ID."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_ID):
        raise ValueError(f"{text[:20]!r} is no number")
    return int(text)
