"""Pages: trimmed to a size, centred on an anchor, and cursors between pages of chats."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import Message

from messaging.archive.store.protocol import ChatCursor, Page, PublicCursor
from shared.contract.chats import is_chat
from shared.contract.ids import MAX_ID

MAX_PAGE_BYTES = 1024 * 1024
"""Bytes at which a page ends early, but not before its first item: gRPC clients accept 4 MiB by default."""

Item = TypeVar("Item", bound=Message)

_PUBLIC_CURSOR = re.compile(r"1:(g-[0-9]{1,19}):(.{1,512})", re.DOTALL)

_CURSOR = re.compile(r"2:([01]):([0-9]{1,19}):(d-[0-9]{1,19}-[0-9]{1,19}|g-[0-9]{1,19})")


def fitting(items: Iterable[Item], max_bytes: int) -> list[Item]:
    """The first items with at most `max_bytes` together; at least one, if there is any."""
    taken: list[Item] = []
    for item in items:
        max_bytes -= item.ByteSize()
        if taken and max_bytes < 0:
            break
        taken.append(item)
    return taken


def newest_of(page: Page, limit: int, max_bytes: int = MAX_PAGE_BYTES) -> Page:
    """The page, cut to the newest messages within both limits."""
    messages = fitting(reversed(page.messages[max(len(page.messages) - limit, 0) :]), max_bytes)[::-1]
    return Page(messages, page.has_older or len(messages) < len(page.messages), page.has_newer)


def oldest_of(page: Page, limit: int, max_bytes: int = MAX_PAGE_BYTES) -> Page:
    """The page, cut to the oldest messages within both limits."""
    messages = fitting(page.messages[:limit], max_bytes)
    return Page(messages, page.has_older, page.has_newer or len(messages) < len(page.messages))


def around(older: Page, newer: Page, limit: int) -> Page:
    """The `limit` messages around an anchor: half from the page below it, half from the page that begins at it, and
    more from one if the other has too few."""
    newer_count = min(len(newer.messages), max(limit - limit // 2, limit - len(older.messages)))
    low = newest_of(older, limit - newer_count, MAX_PAGE_BYTES // 2)
    high = oldest_of(newer, newer_count, MAX_PAGE_BYTES // 2)
    return Page([*low.messages, *high.messages], low.has_older, high.has_newer)


def encode_cursor(cursor: ChatCursor) -> str:
    """Encode the cursor as opaque text."""
    text = f"2:{int(cursor.is_pinned)}:{cursor.changed_at_ms}:{cursor.chat_id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def decode_cursor(text: str) -> ChatCursor | None:
    """Decode a cursor; None if the text is not one."""
    try:
        match = _CURSOR.fullmatch(base64.b64decode(text, altchars=b"-_", validate=True).decode("ascii"))
    except (binascii.Error, ValueError):
        return None
    if match is None or int(match[2]) > MAX_ID:
        return None
    if not is_chat(match[3]):
        return None
    return ChatCursor(int(match[2]), match[3], is_pinned=match[1] == "1")


def encode_public_cursor(cursor: PublicCursor) -> str:
    """Encode the cursor as opaque text."""
    return base64.urlsafe_b64encode(f"1:{cursor.chat_id}:{cursor.name}".encode()).decode()


def decode_public_cursor(text: str) -> PublicCursor | None:
    """Decode a cursor; None if it is none."""
    try:
        match = _PUBLIC_CURSOR.fullmatch(base64.b64decode(text, altchars=b"-_", validate=True).decode())
    except (binascii.Error, UnicodeError, ValueError):
        return None
    return None if match is None else PublicCursor(match[2], match[1])
