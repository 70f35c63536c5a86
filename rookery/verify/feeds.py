"""Records the answers that a client reads after a Gap, each with the times of its request and of its arrival."""

from typing import Any

import trio

from rookery.client import Api, ListChangesResponse, ListChatsResponse
from rookery.verify.records import FeedRead


class WatchedFeed:
    """The part of an Api that `CatchUp` uses."""

    def __init__(self, api: Api, answers: list[FeedRead], *, is_last: bool = False) -> None:
        self._api = api
        self._answers = answers
        self._is_last = is_last

    async def chats(self, **query: Any) -> ListChatsResponse:
        asked_at = trio.current_time()
        page = await self._api.chats(**query)
        self._answers.append(FeedRead(asked_at, trio.current_time(), page.complete_up_to, is_last=self._is_last))
        return page

    async def changes(self, chat_id: str, *, after: int) -> ListChangesResponse:
        asked_at = trio.current_time()
        response = await self._api.changes(chat_id, after=after)
        if not response.too_old:
            moments = asked_at, trio.current_time()
            answer = FeedRead(*moments, response.complete_up_to, chat_id, after, response.events, self._is_last)
            self._answers.append(answer)
        return response
