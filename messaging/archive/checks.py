"""The checks of fields that several queries share, and the refusal if the store does not answer."""

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

from messaging.archive.store.protocol import ChatCursor, PublicCursor
from shared.archive import UNAVAILABLE
from shared.contract.changes import LISTED
from shared.contract.chats import direct_members, is_group, no_such_chat
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import MAX_ID

MAX_LIMIT = 100
"""Chats, messages or references of a request at most: see archive.proto."""

Result = TypeVar("Result")


class OfChat(Protocol):
    """A request of a user for a chat."""

    @property
    def user_id(self) -> int: ...
    @property
    def chat_id(self) -> str: ...


def check_range(field: str, value: int, low: int, high: int) -> Refusal | None:
    if low <= value <= high:
        return None
    return Refusal(Code.INVALID, f"`{field}` must be {low} to {high}, not {value}.", field=field)


def check_bytes(field: str, text: str, most: int) -> Refusal | None:
    if 0 < len(text.encode()) <= most:
        return None
    return Refusal(Code.INVALID, f"`{field}` must have 1 to {most} bytes.", field=field)


def check_cursor(text: str, decoded: ChatCursor | PublicCursor | None) -> Refusal | None:
    if not text or decoded is not None:
        return None
    return Refusal(Code.INVALID, "`cursor` must be the `next_cursor` of an earlier page, or empty.", field="cursor")


def check_chat(request: OfChat) -> Refusal | None:
    """Refuse a request for a chat that can't be the user's. The members of a group are in the store."""
    if refusal := check_range("user_id", request.user_id, 1, MAX_ID):
        return refusal
    return None if is_possible(request.user_id, request.chat_id) else no_such_chat()


def is_possible(user_id: int, chat_id: str) -> bool:
    """Whether the chat may be one of the user's, by its id."""
    members = direct_members(chat_id)
    return is_group(chat_id) if members is None else user_id in members


def check_group(chat_id: str) -> Refusal | None:
    if is_group(chat_id):
        return None
    return Refusal(Code.INVALID, "`chat_id` must be that of a group.", field="chat_id")


def check_users(user_ids: Sequence[int], most: int) -> Refusal | None:
    if len(user_ids) > most:
        message = f"`user_ids` must have at most {most} ids."
        return Refusal(Code.TOO_LARGE, message, field="user_ids")
    bad = (check_range(f"user_ids[{index}]", user_id, 1, MAX_ID) for index, user_id in enumerate(user_ids))
    return next((refusal for refusal in bad if refusal), None)


def check_having(name: str, anchor: str | None) -> Refusal | None:
    if not name:
        return None
    if anchor not in (None, "before_id"):
        return Refusal(Code.INVALID, f"`{anchor}` can't be combined with `having`.", field=anchor or "")
    return check_kind("having", name, LISTED)


def check_kind(field: str, name: str, allowed: Sequence[str]) -> Refusal | None:
    if name in allowed:
        return None
    return Refusal(Code.INVALID, f"`{field}` must be one of: {', '.join(allowed)}.", field=field)


async def unless_unavailable(query: Awaitable[Result]) -> Result | Refusal:
    """The store's result; `unavailable` if the engine does not answer."""
    try:
        return await query
    except Unavailable:
        return Refusal(Code.UNAVAILABLE, UNAVAILABLE)
