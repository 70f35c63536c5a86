"""The users that sessions of this gateway watch: asks the owners of their partitions, and delivers their answers."""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import takewhile

import msgspec
import structlog
import trio

from messaging.gateway.frames import SharedEvent
from messaging.gateway.requests import WatchRequest
from messaging.gateway.session import Command, Session, State
from rookery.v1.session_pb2 import Accepted, Event, Presence
from rookery.v1.signals_pb2 import PresenceChanged
from shared.accounts.store import AccountStore, batches
from shared.background import open_background
from shared.contract.errors import Refusal, Unavailable
from shared.contract.partitions import partition_of
from shared.coordination.ownership import Directory, GatewayAddress
from shared.signals.publisher import SignalPublisher
from shared.throttle import Throttle, too_many

ROUND_SECONDS = 60.0
"""Interval at which this gateway asks for all users that it watches: a lost signal is repaired by then."""

BATCH_SECONDS = 5.0
"""The shortest interval between two sends of changed presences to one session: later changes wait for its end, and
share the next send. A user who hides their presence is hidden at once."""

TICK_SECONDS = 0.5
"""How often this gateway looks for sessions whose interval has ended."""

SENDS_AT_ONCE = 100
"""Sessions that are sent changes before other tasks get their turn: about 3 ms of work."""

MAX_WATCHED_HERE = 100_000
"""Users whom the sessions of this gateway watch: about 50 MB. Presence of further ones is not sent."""

WATCHES_PER_MINUTE = 300
"""Watch frames of a user, all sessions together: some while the user scrolls."""

RELATIONSHIPS_SECONDS = 200.0
"""Age from which a round reads a viewer's relationships again, which is every fourth one: so a block whose announcement
was lost takes effect within 5 minutes."""

MAX_RELATIONSHIPS = 1_000
"""Above this many cached relationships of a viewer, drop the ones with users who are not watched any more."""

EVENT_BYTES = 64
"""About the bytes of an event with a presence in a queue."""

_log = structlog.get_logger(__name__)


class _Viewer(msgspec.Struct, eq=False):
    """A user with a session that watches, and what they may see."""

    shows_presence: bool | None = None
    """Whether the viewer shows their presence: if not, they see nobody's. None until the account is read."""
    is_blocked: dict[int, bool] = {}
    """For each watched user, whether one of the two blocks the other."""
    read_at: float = 0.0
    """No relationship was read earlier."""


class _Watching(msgspec.Struct, eq=False):
    """A session that watches."""

    user_ids: Sequence[int]
    changed: set[int] = set()
    """Watched users whose presence has changed since it was sent to the session."""
    unshown: set[int] = set()
    """Watched users for whose first presence, or its hiding, the session had no room."""


class _State(msgspec.Struct):
    presence: Presence
    shared: SharedEvent


class Watches:
    """The users whom sessions watch, and their newest presence; one for each gateway."""

    def __init__(
        self, gateway: int, partitions: int, accounts: AccountStore, directory: Directory, publisher: SignalPublisher
    ) -> None:
        """`gateway` is the number of this gateway."""
        self._gateway = gateway
        self._partitions = partitions
        self._accounts = accounts
        self._directory = directory
        self._publisher = publisher
        self._watched: dict[Session, _Watching] = {}
        self._ready: set[Session] = set()  # with changes to send now
        self._resting: dict[Session, float] = {}  # until when they are sent no changes; in the order of these times
        self._changed = trio.Event()
        self._watchers: dict[int, set[Session]] = {}
        self._states: dict[int, _State] = {}  # of watched users
        self._sessions: dict[int, set[Session]] = {}  # that watch, by user
        self._viewers: dict[int, _Viewer] = {}
        self._throttle = Throttle()
        self._to_review: set[int] = set()
        self._review = trio.Event()

    def __len__(self) -> int:
        """The number of watched users."""
        return len(self._watchers)

    async def run(self) -> None:
        """Ask the owners in rounds, until cancelled."""
        async with open_background() as nursery:
            nursery.start_soon(self._follow_owners)
            nursery.start_soon(self._review_forever)
            nursery.start_soon(self._reread_forever)
            nursery.start_soon(self._send_forever)
            while True:
                await trio.sleep(ROUND_SECONDS)
                self._publisher.watched(self._gateway, self._watchers)

    # ---- sessions

    async def watch(self, command: Command, request: WatchRequest) -> Refusal | None:
        """Accept, and deliver the presence of each user; of a user that is not watched yet, once the owner of
        the user's partition has answered. Raises Unavailable."""
        session = command.session
        if wait := self._throttle.take(str(session.user_id), WATCHES_PER_MINUTE, trio.current_time()):
            return too_many("watch frames", wait)
        try:
            await self._view(session.user_id, request.user_ids)
            if session.state is State.LIVE:
                session.accept(Accepted(frame=command.frame))
                self._watch(session, request.user_ids)
        finally:
            self._forget_idle(session.user_id)
        return None

    def close(self, session: Session) -> None:
        """Watch nobody for a session that has ended."""
        if session in self._watched:
            self._replace(session, ())

    def _watch(self, session: Session, user_ids: Sequence[int]) -> None:
        self._replace(session, user_ids)
        viewer = self._viewers.get(session.user_id)
        if viewer is not None and len(viewer.is_blocked) > MAX_RELATIONSHIPS:
            self._forget_unwatched(session.user_id, viewer)
        self._show(session, user_ids)
        self._publisher.watched(self._gateway, [user_id for user_id in user_ids if user_id not in self._states])

    def _replace(self, session: Session, user_ids: Sequence[int]) -> None:
        watching = self._watched.pop(session, None)
        former = () if watching is None else watching.user_ids
        self._ready.discard(session)
        self._resting.pop(session, None)
        for user_id in former:
            if (watchers := self._watchers.get(user_id)) is not None:
                watchers.discard(session)
        for user_id in user_ids:
            if user_id in self._watchers or len(self._watchers) < MAX_WATCHED_HERE:
                self._watchers.setdefault(user_id, set()).add(session)
        for user_id in former:
            if not self._watchers.get(user_id):
                self._watchers.pop(user_id, None)
                self._states.pop(user_id, None)  # its changes do not arrive any more
        sessions = self._sessions.setdefault(session.user_id, set())
        if user_ids:
            self._watched[session] = _Watching(user_ids)
            sessions.add(session)
        else:
            sessions.discard(session)
        if not sessions:
            del self._sessions[session.user_id]
            self._forget_idle(session.user_id)

    def _forget_idle(self, viewer_id: int) -> None:
        """Remove the viewer from the cache, unless one of the viewer's sessions watches users."""
        if viewer_id not in self._sessions:
            self._viewers.pop(viewer_id, None)

    def _forget_unwatched(self, viewer_id: int, viewer: _Viewer) -> None:
        """Forget the relationships to users whom the viewer does not watch. The cache has another _Viewer then, so that
        a watch frame that is being looked up reads what it needs again."""
        watched = self._watched_by(viewer_id)
        is_blocked = {user_id: value for user_id, value in viewer.is_blocked.items() if user_id in watched}
        self._viewers[viewer_id] = _Viewer(viewer.shows_presence, is_blocked, viewer.read_at)

    def _watched_by(self, viewer_id: int) -> set[int]:
        return {user_id for session in self._sessions.get(viewer_id, ()) for user_id in self._watched[session].user_ids}

    def _watched_of(self, session: Session) -> Sequence[int]:
        """The users whom the session watches; none if it has ended."""
        watching = self._watched.get(session)
        return () if watching is None else watching.user_ids

    def _show(self, session: Session, user_ids: Sequence[int]) -> None:
        """Deliver the presence of these users, if it is known. A user whom the viewer must not see is offline. If the
        session has no room, the others are shown at the end of its interval."""
        if session.user_id not in self._viewers:
            return
        seen = {*self._seen_by(session.user_id, user_ids)}
        known = [user_id for user_id in user_ids if user_id in self._states]
        queued = session.signal(
            *(
                self._states[user_id].shared if user_id in seen else _shared(Presence(user_id=user_id))
                for user_id in known
            )
        )
        if queued < len(known) and (watching := self._watched.get(session)) is not None:
            watching.unshown.update(known[queued:])
            self._resting.setdefault(session, trio.current_time() + BATCH_SECONDS)
            self._changed.set()

    def _seen_by(self, viewer_id: int, user_ids: Iterable[int]) -> list[int]:
        """The users of these whose presence the viewer may see: none if the viewer is forgotten, except themselves."""
        viewer = self._viewers.get(viewer_id)
        is_blocked = viewer.is_blocked if viewer is not None and viewer.shows_presence else {}
        return [user_id for user_id in user_ids if user_id == viewer_id or not is_blocked.get(user_id, True)]

    # ---- signals

    def receive(self, changed: PresenceChanged) -> None:
        """Deliver the first presence of users to the sessions that watch them, and note each further one to be sent. A
        session whose user must not see a presence receives no event: even its time would reveal something."""
        first: dict[Session, list[int]] = {}
        for presence in changed.presences:
            user_id, state = presence.user_id, self._states.get(presence.user_id)
            watchers = self._watchers.get(user_id)
            if not watchers or (state is not None and _is_known(state.presence, presence, changed.is_provisional)):
                continue
            self._states[user_id] = _State(presence, _shared(presence))
            if state is None:
                for session in watchers:
                    first.setdefault(session, []).append(user_id)
                continue
            for session in watchers:
                self._watched[session].changed.add(user_id)
            is_hidden = not presence.is_online and not presence.last_seen_ms
            self._ready |= watchers if is_hidden else watchers.difference(self._resting)
            self._changed.set()
        for session, user_ids in first.items():
            self._show(session, user_ids)

    async def _send_forever(self) -> None:
        """Send changes to sessions as they arrive, or at the end of the sessions' intervals, with a tick."""
        while True:
            with trio.move_on_after(TICK_SECONDS if self._resting else math.inf):
                await self._changed.wait()
            self._changed = trio.Event()
            now = trio.current_time()
            self._end_intervals(now)
            ready = tuple(self._ready)
            for start in range(0, len(ready), SENDS_AT_ONCE):
                for session in self._ready.intersection(ready[start : start + SENDS_AT_ONCE]):
                    self._send_changes(session, now)
                await trio.lowlevel.checkpoint()

    def _end_intervals(self, now: float) -> None:
        ended = takewhile(lambda each: each[1] <= now, self._resting.items())
        for session in [session for session, _ in ended]:
            del self._resting[session]
            watching = self._watched[session]
            if watching.changed:
                self._ready.add(session)
            if unshown := watching.unshown:
                watching.unshown = set()
                self._show(session, tuple(unshown))

    def _send_changes(self, session: Session, now: float) -> None:
        """Send a session the changes that its user may see now. Changes for which it has no room wait again."""
        self._ready.discard(session)
        watching = self._watched[session]
        shown = self._seen_by(session.user_id, watching.changed)
        queued = session.signal(*[self._states[user_id].shared for user_id in shown])
        watching.changed = {*shown[queued:]}
        if shown:
            self._resting.pop(session, None)
            self._resting[session] = now + BATCH_SECONDS

    def deliver(self, user_id: int, shared: SharedEvent) -> None:
        """Deliver an event about the user to the sessions that watch them."""
        for session in self._watchers.get(user_id, ()):
            session.signal(shared)

    def forget_viewer(self, user_id: int) -> None:
        """Read again what the user may see, since their settings or relationships have changed, and show it."""
        if self._viewers.pop(user_id, None) is not None:
            self._to_review.add(user_id)
            self._review.set()

    async def _review_forever(self) -> None:
        while True:
            await self._review.wait()
            self._review = trio.Event()
            while self._to_review:
                user_id = self._to_review.pop()
                try:
                    await self._review_viewer(user_id)
                except Unavailable as error:
                    _log.warning("watches_not_reviewed", error=str(error))
                    self._to_review.add(user_id)
                    await trio.sleep(1)

    async def _review_viewer(self, user_id: int) -> None:
        """Raises Unavailable."""
        try:
            for session in tuple(self._sessions.get(user_id, ())):
                await self._view(user_id, self._watched_of(session))
                self._show(session, self._watched_of(session))
        finally:
            self._forget_idle(user_id)

    async def _view(self, viewer_id: int, user_ids: Sequence[int]) -> None:
        """Read what a viewer may see of these users, unless it is known. Raises Unavailable."""
        viewer: _Viewer | None = None
        while viewer is None or self._viewers.get(viewer_id) is not viewer:  # it may be forgotten while it is read
            viewer = self._viewers.setdefault(viewer_id, _Viewer(read_at=trio.current_time()))
            if viewer.shows_presence is None:
                users = await self._accounts.users([viewer_id])
                viewer.shows_presence = bool(users) and users[0].shows_presence
            unread = [user_id for user_id in user_ids if user_id not in viewer.is_blocked]
            if unread:
                relationships = await self._accounts.relationships(viewer_id, unread)
                viewer.is_blocked |= {user_id: each.is_blocked for user_id, each in relationships.items()}

    async def _reread_forever(self) -> None:
        """Read the viewers' settings and blocks again, in case a signal or an announcement was lost."""
        while True:
            await trio.sleep(ROUND_SECONDS)
            with suppress(Unavailable):  # the next round goes on
                await self._reread_settings()
                await self._reread_relationships()

    async def _reread_settings(self) -> None:
        """Read the settings of all viewers. Raises Unavailable."""
        for user_ids in batches(tuple(self._viewers)):
            for user in await self._accounts.users(user_ids):
                viewer = self._viewers.get(user.user_id)
                if viewer is not None and viewer.shows_presence != user.shows_presence:
                    self.forget_viewer(user.user_id)

    async def _reread_relationships(self) -> None:
        """Read the relationships to watched users that were read RELATIONSHIPS_SECONDS ago. Raises Unavailable."""
        read_at = trio.current_time()
        for viewer_id, viewer in tuple(self._viewers.items()):
            if read_at - viewer.read_at < RELATIONSHIPS_SECONDS:
                continue
            found = await self._accounts.relationships(viewer_id, tuple(self._watched_by(viewer_id)))
            if self._viewers.get(viewer_id) is not viewer:
                continue  # it was forgotten meanwhile
            if any(viewer.is_blocked.get(user_id) != each.is_blocked for user_id, each in found.items()):
                self.forget_viewer(viewer_id)
            else:
                viewer.read_at = read_at
                self._forget_unwatched(viewer_id, viewer)

    async def _follow_owners(self) -> None:
        """Ask the new owner of a partition at once."""
        owners: dict[int, GatewayAddress | None] = {}
        while True:
            before, owners = owners, {part: self._directory.owner(part) for part in range(self._partitions)}
            moved = {part for part, owner in owners.items() if owner is not None and owner != before.get(part)}
            users = [user_id for user_id in self._watchers if partition_of(user_id, self._partitions) in moved]
            if moved and users:
                self._publisher.watched(self._gateway, users)
            await self._directory.changed()


def _is_known(before: Presence, presence: Presence, is_provisional: bool) -> bool:
    """Whether a presence is no news. A provisional one does not count against a user who was online."""
    return presence == before or (is_provisional and before.is_online)


def _shared(presence: Presence) -> SharedEvent:
    return SharedEvent(Event(presence=presence), EVENT_BYTES)
