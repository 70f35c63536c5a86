"""Makes previews of the first links of accepted messages, as changes by the server.

A preview is lost if its gateway ends meanwhile, or has too many to make: nobody waits for it. Before it fetches a page,
it looks up whether the sender has switched previews off in the chat: a message without a link pays nothing for that.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import structlog
import trio

from messaging.gateway.lookups import Lookups, remember
from messaging.gateway.publisher import Publisher
from messaging.gateway.requests import ChangeRequest, KeptRequest, Members, SendRequest
from messaging.gateway.rosters import Rosters
from messaging.kinds import KINDS
from messaging.text_links import first_link
from rookery.v1.session_pb2 import Change, Event, LinkPreview, Previewed
from shared.configuration.live import Live
from shared.contract.errors import Refusal, Unavailable
from shared.telemetry.metrics.catalogue import LINK_PREVIEWS
from shared.throttle import Throttle

MAX_QUEUED = 100
"""Links that wait; one more gets no preview."""

AT_ONCE = 5
"""Links that are fetched at once."""

MAX_PER_MINUTE = 30
"""Links of one user in a minute."""

MAX_ACCEPTED = 10_000
"""Entries of each cache of accepted events, which the tail has a moment later: the newest `without_previews` by user
and chat, and by message the first link and the end of its preview. About 9 MB in all, and 30 if all links are as long
as possible."""

_log = structlog.get_logger(__name__)


class Previewer(Protocol):
    """Fetches the pages behind links, in a process of its own."""

    async def fetch(self, url: str) -> LinkPreview | None:
        """The preview of a page; None if it has none, or does not answer within seconds."""
        ...


class _PreviewJob(NamedTuple):
    """A link of a message, and the sender."""

    user_id: int
    chat_id: str
    members: Members
    message_id: int
    url: str
    edit_id: int
    """The event of the edit that has the link; 0 if it is in the message itself."""


class Previews:
    """Queues links of accepted messages, and publishes their previews; one for each gateway."""

    def __init__(
        self, previewer: Previewer, publisher: Publisher, lookups: Lookups, rosters: Rosters, live: Live
    ) -> None:
        self._previewer = previewer
        self._publisher = publisher
        self._lookups = lookups
        self._rosters = rosters
        self._live = live
        self._queue, self._jobs = trio.open_memory_channel[_PreviewJob](MAX_QUEUED)
        self._links_of_users = Throttle()
        self._accepted: dict[tuple[int, str], tuple[int, bool]] = {}
        """By user and chat, the id of the newest accepted `without_previews`, and whether it is set."""
        self._links: dict[int, tuple[int, str]] = {}
        """By message, the event id of its newest text, and the first link of that."""
        self._taken: dict[int, int] = {}
        """By message, the event id of the newest accepted change that takes its preview away."""

    def offer(self, user_id: int, request: KeptRequest, event_id: int, is_stored: bool) -> None:
        """Make a preview of the first link of a stored message, or of an edit, unless previews are off or too many
        wait. Does not wait. Has to be called for each `without_previews` and `previewed` too."""
        if not is_stored:
            return
        if isinstance(request, SendRequest):
            text, message_id = request.text, event_id
        elif request.change.HasField("edited"):
            text, message_id = request.change.edited.text, request.change.target_id
        else:
            self._note(user_id, request.change, event_id)
            return
        url = first_link(text.body)
        if url or message_id != event_id:
            self._note_link(message_id, event_id, url)
        if not url or not self._is_on(request.chat_id, request.members):
            return
        try:
            if self._links_of_users.take(str(user_id), MAX_PER_MINUTE, trio.current_time()):
                raise trio.WouldBlock
            edit_id = 0 if message_id == event_id else event_id
            self._queue.send_nowait(_PreviewJob(user_id, request.chat_id, request.members, message_id, url, edit_id))
        except trio.WouldBlock:
            LINK_PREVIEWS.inc("dropped")

    def _note_link(self, message_id: int, event_id: int, url: str) -> None:
        newest = max((event_id, url), self._links.get(message_id, (0, "")))
        remember(self._links, message_id, newest, MAX_ACCEPTED)

    async def run(self) -> None:
        """Fetch pages and publish previews, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work)

    def _note(self, user_id: int, change: Change, event_id: int) -> None:
        """Remember a change that decides whether the user gets previews: the tail has it a moment later."""
        if change.HasField("without_previews"):
            remember(self._accepted, (user_id, change.chat_id), (event_id, change.without_previews.set), MAX_ACCEPTED)
        elif change.HasField("previewed"):
            remember(self._taken, change.target_id, event_id, MAX_ACCEPTED)

    async def _work(self) -> None:
        async for job in self._jobs:
            is_made = False
            try:
                is_made = await self._make(job)
            except Unavailable as error:
                _log.warning("preview_not_made", error=str(error))
            LINK_PREVIEWS.inc("made" if is_made else "none")

    async def _make(self, job: _PreviewJob) -> bool:
        """Fetch the page, unless the sender wants no previews or the message has or had one of this link, and publish
        its preview. Return whether there is one. Raises Unavailable."""
        if await self._is_without(job.user_id, job.chat_id):
            return False
        recorded = await self._find_made(job)
        if recorded is None or self._was_made(job, recorded):
            return False
        preview = await self._previewer.fetch(job.url)
        if preview is not None and not job.members:
            await self._rosters.get(job.chat_id)  # it is dropped if partitions move meanwhile
        _, newest = self._links.get(job.message_id, (0, job.url))  # the text may have been edited meanwhile
        if preview is None or newest != job.url or not self._is_on(job.chat_id, job.members):
            return False
        if self._was_made(job, recorded):  # for another text of the message with the same link
            return False
        return await self._publisher.make(job.user_id, _request(job, preview))

    async def _is_without(self, user_id: int, chat_id: str) -> bool:
        """Whether the user wants no previews of their links in the chat; True while history can't answer, so that no
        page is fetched against the will of the sender. Raises Unavailable."""
        found = await self._lookups.find_own_change(user_id, chat_id, "without_previews")
        if isinstance(found, Refusal):
            return True
        read = (found.event_id, found.change.without_previews.set) if found else (0, False)
        _, is_set = max(read, self._accepted.get((user_id, chat_id), read))
        return is_set

    async def _find_made(self, job: _PreviewJob) -> Sequence[Event] | None:
        """The newest previews of a message that is edited, as ListVersions returns them, and the changes that took them
        away; None while history can't answer. Raises Unavailable."""
        if not job.edit_id:
            return ()  # history has none of a message that is new
        made = await self._lookups.find_versions(job.user_id, job.chat_id, job.message_id, "previewed")
        return None if isinstance(made, Refusal) else made

    def _was_made(self, job: _PreviewJob, recorded: Sequence[Event]) -> bool:
        """Whether the newest preview of the message is of this link, or the last one of this link was taken away. By
        these recorded previews, by those of the tail, and by what was accepted since."""
        recent = self._lookups.recent_versions(job.user_id, job.message_id, "previewed")
        urls = {event.event_id: event.change.previewed.preview.url for event in (*recorded, *recent)}
        if (taken_id := self._taken.get(job.message_id)) is not None:
            urls[taken_id] = ""
        newest_first = [urls[event_id] for event_id in sorted(urls, reverse=True)]
        if job.url not in newest_first:
            return False
        last = newest_first.index(job.url)
        return last == 0 or not newest_first[last - 1]

    def _is_on(self, chat_id: str, members: Members) -> bool:
        if self._live.value.link_previews == "off":
            return False
        roster = None if members else self._rosters.cached(chat_id)
        return bool(members) or (roster is not None and not roster.settings.without_previews)


def _request(job: _PreviewJob, preview: LinkPreview) -> ChangeRequest:
    """The change of the message."""
    client_id = _client_id(job)
    change = Change(
        chat_id=job.chat_id,
        target_id=job.message_id,
        actor_id=job.user_id,
        client_change_id=client_id,
        previewed=Previewed(preview=preview),
    )
    return ChangeRequest(client_id, job.chat_id, job.members, KINDS["previewed"], change, 0)


def _client_id(job: _PreviewJob) -> str:
    """Return the client id of the preview, another one for each edit, so that a link that comes back gets one again."""
    digest = hashlib.sha256(job.url.encode()).hexdigest()[:16]
    first = f"preview:{job.message_id}:{digest}"
    return f"{first}:{job.edit_id}" if job.edit_id else first
