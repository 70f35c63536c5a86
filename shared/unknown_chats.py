"""Limits each user's requests for chats that do not exist or are not theirs, in a BFF and in a gateway."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from google.protobuf.message import Message

from shared.configuration.live import Live
from shared.contract.errors import Code, Refusal
from shared.throttle import Throttle, too_many

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class UnknownChatLimit:
    """Limits each user's requests for unknown chats. One serves all routes of a BFF, since they count together."""

    def __init__(self, live: Live, field: str = "chat_id") -> None:
        """`field` is the field by which the requests name their chat."""
        self._live = live
        self._field = field
        self._unknown = Throttle()

    async def call(
        self, user_id: int, method: Callable[[Request], Awaitable[Response | Refusal]], request: Request
    ) -> Response | Refusal:
        """The method's response to the request, which names one chat.

        A user who asked for more than `unknown_chats_per_minute` chats that do not exist or are not theirs is refused
        as `rate_limited`. Requests in flight at once may exceed the limit.
        """
        if refusal := self.check(user_id):
            return refusal
        response = await method(request)
        if isinstance(response, Refusal) and (response.code, response.field) == (Code.NOT_FOUND, self._field):
            self.count(user_id)
        return response

    def check(self, user_id: int) -> Refusal | None:
        """The refusal of a request of a user who asked for too many unknown chats."""
        limit = self._live.value.unknown_chats_per_minute
        wait = self._unknown.wait(str(user_id), limit, trio.current_time())
        return too_many("requests for chats that are not yours", wait) if wait else None

    def count(self, user_id: int) -> None:
        """Count a request for an unknown chat."""
        self._unknown.take(str(user_id), self._live.value.unknown_chats_per_minute, trio.current_time())
