"""Reads chat lists, and waits until they show the marks of their user."""

from collections.abc import Mapping

import trio

from rookery.client import Client
from rookery.verify.histories import PAGE, RETRY_PAUSE, retry
from rookery.verify.records import Listed


async def read_chat_list(client: Client, marks: Mapping[str, int], deadline: float) -> list[Listed]:
    """Return the chats as the user's list shows them, read again until it shows all marks, which are ids by chat.

    At the deadline (on Trio's clock) the last result counts; a chat that is not in the list has no mark.
    """
    user_id = client.me.user_id
    listed = {chat_id: Listed(user_id, chat_id, mark) for chat_id, mark in marks.items()}
    with trio.CancelScope(deadline=deadline):
        while any(each.read_up_to < each.marked for each in listed.values()):
            cursor: str | None = ""
            while cursor is not None:
                page = await retry(client.api.chats, changed_since_ms=0, limit=PAGE, cursor=cursor)
                for chat in page.chats if page else ():
                    if chat.chat_id in marks:
                        shown = next((mark.read_up_to for mark in chat.marks if mark.user_id == user_id), 0)
                        counts = chat.unread, chat.unread_mentions
                        listed[chat.chat_id] = Listed(
                            user_id, chat.chat_id, marks[chat.chat_id], shown, *counts, chat.changes
                        )
                cursor = (page and page.next_cursor) or None
            await trio.sleep(RETRY_PAUSE)
    return list(listed.values())
