"""An archive that lags behind the log, in place of the `Api` of a client."""

from collections.abc import Callable, Sequence
from typing import Any

import trio

from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import ListChangesResponse, ListChatsResponse, ListMessagesResponse
from rookery.v1.groups_pb2 import ROLE_MEMBER, Member
from shared.contract.ids import first_id_at, time_of

START_MS = 1_800_000_000_000
"""The server's time at the start of the clock."""

MAX_AGE_MS = 10_000
"""An event whose id is older when the log stores it is late."""


class FakeArchive:
    """An archive that has recorded the log up to `lag_ms` before now. A page of chats has two."""

    def __init__(self) -> None:
        self.lag_ms = 0
        self.too_old: dict[str, int] = {}
        """By chat: the lowest id after which its changes are known."""
        self.failures: list[Exception] = []
        """Raised first."""
        self.requests: list[str] = []
        self.channels: set[str] = set()
        self.between_pages: Callable[[], object] = lambda: None
        self._started = trio.current_time()
        self._log: list[tuple[int, str, pb.Event]] = []

    @property
    def now_ms(self) -> int:
        return START_MS + round((trio.current_time() - self._started) * 1000)

    def log(self, chat_id: str, *, age_ms: int = 0, **body: Any) -> pb.Event:
        """Store an event now, with an id that is so old: a change with this body, or a message."""
        event = pb.Event(event_id=first_id_at(self.now_ms - age_ms) + len(self._log))
        if body:
            event.change.CopyFrom(pb.Change(chat_id=chat_id, target_id=1, **body))
        else:
            event.message.CopyFrom(pb.Message(message_id=event.event_id, chat_id=chat_id))
        self._log.append((self.now_ms, chat_id, event))
        return event

    def hide(self, event: pb.Event) -> tuple[int, str, pb.Event]:
        """Return the record of an event that the user may not read."""
        record = next(each for each in self._log if each[2] is event)
        self._log.remove(record)
        return record

    def show(self, record: tuple[int, str, pb.Event]) -> None:
        self._log.append(record)

    async def chats(self, *, changed_since_ms: int = 0, limit: int, cursor: str = "") -> ListChatsResponse:
        await self._note(f"chats {cursor}")
        changed: dict[str, int] = {}
        for at_ms, chat_id, event in self._recorded():
            changed[chat_id] = max(changed.get(chat_id, 0), time_of(event.event_id), at_ms - MAX_AGE_MS)
        order = sorted((-at_ms, chat_id) for chat_id, at_ms in changed.items() if at_ms >= changed_since_ms)
        key, _, last = cursor.partition(" ")
        left = [each for each in order if not cursor or each > (int(key), last)]
        response = ListChatsResponse(complete_up_to=self._complete_up_to())
        for _, chat_id in left[:2]:
            chat = response.chats.add(chat_id=chat_id, own=Member(role=ROLE_MEMBER))
            chat.settings.is_channel = chat_id in self.channels
        if len(left) > 2:
            response.next_cursor = f"{left[1][0]} {left[1][1]}"
            self.between_pages()
        return response

    async def history(self, chat_id: str, *, limit: int) -> ListMessagesResponse:
        await self._note(f"history {chat_id}")
        return ListMessagesResponse(complete_up_to=self._complete_up_to())

    async def changes(self, chat_id: str, *, after: int) -> ListChangesResponse:
        await self._note(f"changes {chat_id}")
        if after < self.too_old.get(chat_id, 0):
            return ListChangesResponse(too_old=True)
        events = [
            event
            for at_ms, chat, event in self._recorded()
            if chat == chat_id and max(event.event_id, first_id_at(at_ms - MAX_AGE_MS)) > after
        ]
        return ListChangesResponse(events=events, complete_up_to=self._complete_up_to())

    def _recorded(self) -> Sequence[tuple[int, str, pb.Event]]:
        return [each for each in self._log if each[0] <= self.now_ms - self.lag_ms]

    def _complete_up_to(self) -> int:
        return first_id_at(self.now_ms - self.lag_ms - MAX_AGE_MS)

    async def _note(self, request: str) -> None:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        if self.failures:
            raise self.failures.pop(0)
