"""Marks in groups: announces the marks of this gateway's users to the other members, and delivers others' marks.

They are signals, since one that is lost does no harm: the archive has all marks, and the next one of a user is higher.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog
import trio

from messaging.gateway.frames import SharedEvent
from messaging.gateway.registry import Registry
from messaging.gateway.requests import ChangeRequest, KeptRequest
from messaging.gateway.rosters import Rosters
from rookery.v1.session_pb2 import Event, GroupMarks, MemberMark
from shared.accounts.store import batches
from shared.background import open_background
from shared.contract.errors import Refusal, Unavailable
from shared.contract.groups import Roster
from shared.contract.ids import MAX_ID
from shared.signals.publisher import SignalPublisher
from shared.telemetry.metrics.catalogue import SIGNALS_LOST

PERIOD_SECONDS = 2.0
"""The marks of a group in this time are one signal to each partition."""

MAX_READ_MEMBERS = 100
"""Most members of a group in which each mark of reading is announced."""

MAX_DELIVERED_MEMBERS = 32
"""Most members of a group in which each mark of delivery is announced."""

MAX_NOTED = 20_000
"""Members whose marks wait to be announced: about 10 MB. Further ones are not announced."""

MAX_RECEIVED = 1_000
"""Signals that wait to be delivered while accounts are read: about 10 MB. Further ones are lost."""

_log = structlog.get_logger(__name__)

ShowingReadMarks = Callable[[Collection[int]], Awaitable[Collection[int]]]
"""Returns the users that show read marks, of these MAX_IDS users at most. Raises Unavailable."""


class GroupMarksExchange:
    """Announces and delivers marks in groups; one for each gateway. No method but `run` waits."""

    def __init__(
        self, registry: Registry, rosters: Rosters, publisher: SignalPublisher, showing: ShowingReadMarks
    ) -> None:
        self._registry = registry
        self._rosters = rosters
        self._publisher = publisher
        self._showing = showing
        self._noted: dict[str, dict[int, MemberMark]] = {}  # by group and member
        self._count = 0  # of members in it
        self._received, self._waiting = trio.open_memory_channel[tuple[Event, Collection[int]]](MAX_RECEIVED)

    async def run(self) -> None:
        """Announce and deliver marks until cancelled."""
        async with open_background() as nursery:
            nursery.start_soon(self._deliver_forever)
            while True:
                await trio.sleep(PERIOD_SECONDS)
                await self._announce_noted()

    def note(self, user_id: int, request: KeptRequest) -> None:
        """Announce the mark of a stored request, if it is one in a group of MAX_READ_MEMBERS at most."""
        if not isinstance(request, ChangeRequest) or not request.is_mark or request.members:
            return
        roster = self._rosters.cached(request.chat_id)
        if self._count >= MAX_NOTED or (roster is not None and not _is_small(roster)):
            return
        marked = request.change.marked
        mark = MemberMark(user_id=user_id, delivered_up_to=marked.delivered_up_to, read_up_to=marked.read_up_to)
        self._note(request.chat_id, mark)

    def _note(self, chat_id: str, newer: MemberMark) -> None:
        marks = self._noted.setdefault(chat_id, {})
        if newer.user_id not in marks:
            marks[newer.user_id] = MemberMark(user_id=newer.user_id)
            self._count += 1
        mark = marks[newer.user_id]
        mark.delivered_up_to = max(mark.delivered_up_to, newer.delivered_up_to)
        mark.read_up_to = max(mark.read_up_to, newer.read_up_to)

    def receive(self, event: Event, recipient_ids: Collection[int]) -> None:
        """Deliver the marks to each recipient that shows read marks."""
        online = [user_id for user_id in recipient_ids if self._registry.of(user_id)]
        if not online:
            return
        try:
            self._received.send_nowait((event, online))
        except trio.WouldBlock:
            SIGNALS_LOST.inc("no_room")

    async def _announce_noted(self) -> None:
        noted, self._noted, self._count = self._noted, {}, 0
        authors = {user_id for marks in noted.values() for user_id in marks}
        try:
            showing = {each for user_ids in batches(authors) for each in await self._showing(user_ids)}
        except Unavailable as error:
            _log.warning("group_marks_not_announced", groups=len(noted), error=str(error))
            return
        is_answered = True
        kept: list[tuple[str, dict[int, MemberMark]]] = []
        for chat_id, marks in noted.items():
            if is_answered:  # else each further roster might take as long
                is_answered = await self._load_roster(chat_id)
            if not is_answered and self._rosters.cached(chat_id) is None:
                kept.append((chat_id, marks))
                continue
            self._announce(chat_id, [mark for user_id, mark in marks.items() if user_id in showing])
            await trio.lowlevel.checkpoint()
        for chat_id, marks in [*kept[1:], *kept[:1]]:  # the one that failed comes last
            for mark in marks.values():
                if self._count < MAX_NOTED:
                    self._note(chat_id, mark)

    async def _load_roster(self, chat_id: str) -> bool:
        """Load a roster that was dropped, for instance when partitions moved. Return false if that is not possible."""
        try:
            found = await self._rosters.get(chat_id)
            failure = found.message if isinstance(found, Refusal) else ""
        except Unavailable as error:
            failure = str(error)
        if failure:
            _log.warning("group_marks_not_announced", groups=1, error=failure)
        return not failure

    def _announce(self, chat_id: str, marks: Sequence[MemberMark]) -> None:
        """Announce these marks, without the marks of former members, if the roster is cached."""
        roster = self._rosters.cached(chat_id)
        if roster is None or not _is_small(roster):
            return
        shown = [_shown(mark, roster) for mark in marks if mark.user_id in roster]
        if risen := [mark for mark in shown if mark.delivered_up_to or mark.read_up_to]:
            users = self._rosters.by_partition(chat_id)
            self._publisher.group_marks(GroupMarks(chat_id=chat_id, marks=risen), users)

    async def _deliver_forever(self) -> None:
        async for event, user_ids in self._waiting:
            try:
                showing = tuple(await self._showing(user_ids))
            except Unavailable as error:
                _log.warning("group_marks_not_delivered", error=str(error))
                continue
            # The sender may not have read who has left the group.
            recipient_ids = self._rosters.within(event.group_marks.chat_id, 0, MAX_ID, showing)
            shared = SharedEvent(event, event.ByteSize())
            for session in self._registry.of_all(recipient_ids):
                session.signal(shared)


def _is_small(roster: Roster) -> bool:
    """Whether the marks of its members are announced."""
    return not roster.is_channel and roster.member_count <= MAX_READ_MEMBERS


def _shown(mark: MemberMark, roster: Roster) -> MemberMark:
    """The part of a mark that the other members learn."""
    if roster.member_count <= MAX_DELIVERED_MEMBERS:
        return mark
    return MemberMark(user_id=mark.user_id, read_up_to=mark.read_up_to)
