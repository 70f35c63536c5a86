"""Gives accepted messages a preview of their first link, as a change that the server makes.

A preview is lost if its gateway ends meanwhile, or has too many to make: nobody waits for it.
"""

import hashlib
from collections import Counter
from typing import NamedTuple, Protocol

import structlog
import trio

from messaging.gateway.publisher import Publisher
from messaging.gateway.requests import ChangeRequest, KeptRequest, Members, SendRequest
from messaging.gateway.rosters import Rosters
from messaging.kinds import KINDS
from messaging.links import first_link
from rookery.v1.session_pb2 import Change, LinkPreview, Previewed
from shared.configuration.live import Live
from shared.contract.errors import Unavailable
from shared.telemetry.metrics.catalogue import LINK_PREVIEWS

MAX_QUEUED = 100
"""Links that wait; one more gets no preview."""

AT_ONCE = 5
"""Links that are fetched at once."""

MAX_PER_MINUTE = 30
"""Links of one user in a minute."""

_log = structlog.get_logger(__name__)


class Previewer(Protocol):
    """Fetches the pages behind links, in a process of its own."""

    async def fetch(self, url: str) -> LinkPreview | None:
        """The preview of a page; None if it has none, or does not answer within seconds."""
        ...


class _Wanted(NamedTuple):
    """A link of a message, and the sender."""

    user_id: int
    chat_id: str
    members: Members
    message_id: int
    url: str


class Previews:
    """One for each gateway."""

    def __init__(self, previewer: Previewer, publisher: Publisher, rosters: Rosters, live: Live) -> None:
        self._previewer = previewer
        self._publisher = publisher
        self._rosters = rosters
        self._live = live
        self._queue, self._wanted = trio.open_memory_channel[_Wanted](MAX_QUEUED)
        self._minute = 0
        self._in_minute = Counter[int]()
        """By user, the links of this minute."""

    def offer(self, user_id: int, request: KeptRequest, event_id: int, is_stored: bool) -> None:
        """Make a preview of the first link of a stored message, or of an edit, unless previews are off or too many
        wait. Does not wait."""
        if not is_stored:
            return
        if isinstance(request, SendRequest):
            text, message_id = request.text, event_id
        elif request.change.HasField("edited"):
            text, message_id = request.change.edited.text, request.change.target_id
        else:
            return
        url = first_link(text.body)
        if not url or not self._is_on(request.chat_id, request.members):
            return
        try:
            if not self._may_have_one_more(user_id):
                raise trio.WouldBlock
            self._queue.send_nowait(_Wanted(user_id, request.chat_id, request.members, message_id, url))
        except trio.WouldBlock:
            LINK_PREVIEWS.inc("dropped")

    async def run(self) -> None:
        """Fetch pages and publish previews, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        async for wanted in self._wanted:
            preview = await self._previewer.fetch(wanted.url)
            is_made = False
            if preview is not None and self._is_on(wanted.chat_id, wanted.members):
                try:
                    is_made = await self._publisher.make(wanted.user_id, _request(wanted, preview))
                except Unavailable as error:
                    _log.warning("preview_not_published", error=str(error))
            LINK_PREVIEWS.inc("made" if is_made else "none")

    def _is_on(self, chat_id: str, members: Members) -> bool:
        if self._live.value.link_previews == "off":
            return False
        roster = None if members else self._rosters.cached(chat_id)
        return bool(members) or (roster is not None and not roster.settings.without_previews)

    def _may_have_one_more(self, user_id: int) -> bool:
        minute = int(trio.current_time() // 60)
        if minute != self._minute:
            self._minute, self._in_minute = minute, Counter()
        self._in_minute[user_id] += 1
        return self._in_minute[user_id] <= MAX_PER_MINUTE


def _request(wanted: _Wanted, preview: LinkPreview) -> ChangeRequest:
    """The change of the message. Its client id is the same for each time that the message has this link first, so that
    the gateway publishes it once."""
    digest = hashlib.sha256(wanted.url.encode()).hexdigest()[:16]
    client_id = f"preview:{wanted.message_id}:{digest}"
    change = Change(
        chat_id=wanted.chat_id,
        target_id=wanted.message_id,
        actor_id=wanted.user_id,
        client_change_id=client_id,
        previewed=Previewed(preview=preview),
    )
    return ChangeRequest(client_id, wanted.chat_id, wanted.members, KINDS["previewed"], change, 0)
