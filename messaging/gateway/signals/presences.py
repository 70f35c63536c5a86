"""The presence of the users of this gateway's partitions: sends it to the gateways that watch them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import structlog
import trio

from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.registry import Registry
from rookery.v1.session_pb2 import Event, Presence
from shared.accounts.store import AccountStore, batches
from shared.background import open_background
from shared.contract.errors import Unavailable
from shared.contract.ids import wall_clock_ms
from shared.signals.publisher import SignalPublisher

OFFLINE_SECONDS = 30.0
"""A user is offline so long after the end of their last session: clients reconnect meanwhile."""

WATCH_SECONDS = 120.0
"""How long a gateway is sent the presence of a user after it has asked for it: two of its rounds."""

FRESH_SECONDS = 55.0
"""How long an account that was read counts: shorter than a round of the gateways that watch. If the signal of a changed
setting is lost, the setting takes effect after two minutes at most."""

TICK_SECONDS = 1.0

MAX_WATCHED_HERE = 100_000
"""Users of this gateway that others watch: about 50 MB. Further ones are not answered."""

MAX_NOTES = 100_000
"""Users whose last session has ended, and whose time is not stored yet. It is not stored for further ones."""

NOTE_SECONDS = 1.0
"""How long a gateway that stops stores when its users were last seen."""

_log = structlog.get_logger(__name__)


class _Account(msgspec.Struct):
    """The part of a watched user's account that counts here."""

    shows_presence: bool
    last_seen_ms: int
    read_at: float
    """In seconds of `trio.current_time`."""


class Presences:
    """Sends the presence of users to the gateways that watch them; one for each gateway. No method but `run` and
    `close` waits."""

    def __init__(
        self, partitions: OwnedPartitions, registry: Registry, accounts: AccountStore, publisher: SignalPublisher
    ) -> None:
        self._partitions = partitions
        self._registry = registry
        self._accounts = accounts
        self._publisher = publisher
        self._watchers: dict[int, dict[int, float]] = {}  # by user: gateways, and until when each watches
        self._known: dict[int, _Account] = {}  # of watched users
        self._reading: set[int] = set()  # users whose accounts are being read, and have not changed meanwhile
        self._left: dict[int, tuple[float, int]] = {}  # users who are offline from then on; when their session ended
        self._owned_since: dict[int, float] = {}  # by partition
        self._unsettled: set[int] = set()  # partitions that are owned for less than OFFLINE_SECONDS
        self._sweep_at = 0.0
        self._due: dict[int, set[int]] = {}  # by user: gateways that are sent their state next
        self._notes: dict[int, int] = {}
        self._wake = trio.Event()

    async def run(self) -> None:
        """Send due states, until cancelled."""
        async with open_background() as nursery:
            nursery.start_soon(self._send_forever)
            nursery.start_soon(self._note_forever)
            while True:
                self.tick()
                await trio.sleep(TICK_SECONDS)

    async def close(self) -> None:
        """Store when the users of this gateway were last seen, within NOTE_SECONDS: their sessions end now."""
        for user_id in self._registry.users():
            self._note(user_id, wall_clock_ms())
        for user_id, (_, ended_ms) in self._left.items():
            self._note(user_id, ended_ms)
        self._left.clear()
        with trio.move_on_after(NOTE_SECONDS):
            await self._store_notes()

    def is_online(self, user_id: int) -> bool:
        return user_id in self._left or bool(self._registry.of(user_id))

    def sessions_changed(self, user_id: int) -> None:
        """The first session of the user has begun, or their last one has ended."""
        if self._registry.of(user_id):
            if self._left.pop(user_id, None) is None:
                self._announce(user_id)
        elif self._owns(user_id):
            self._left[user_id] = trio.current_time() + OFFLINE_SECONDS, wall_clock_ms()
        else:  # the user was sent to another gateway
            self._note(user_id, wall_clock_ms())

    def watch(self, gateway: int, user_ids: Iterable[int]) -> None:
        """Send the gateway the state of these users, and each change for WATCH_SECONDS. Another gateway's are
        ignored."""
        until = trio.current_time() + WATCH_SECONDS
        for user_id in user_ids:
            if not self._owns(user_id) or (user_id not in self._watchers and len(self._watchers) >= MAX_WATCHED_HERE):
                continue
            self._watchers.setdefault(user_id, {})[gateway] = until
            self._due.setdefault(user_id, set()).add(gateway)
        self._wake.set()

    def profile_changed(self, event: Event) -> None:
        """Forward the event of a changed profile to the gateways that watch its user, whose settings are read again."""
        user_id = event.profile_changed.user_id
        self._known.pop(user_id, None)
        self._reading.discard(user_id)
        for gateway in self._watching(user_id):
            self._publisher.forward(gateway, event)
        self._announce(user_id)
        self._wake.set()  # a presence that is hidden now does not wait for the tick

    def tick(self) -> None:
        """Apply the changes that come with time, and send all changes of about a second."""
        now = trio.current_time()
        self._follow_ownership(now)
        if self._sweep_at <= now:
            self._sweep_at = now + WATCH_SECONDS
            for user_id in tuple(self._watchers):
                self._watching(user_id)
        while self._left:
            user_id, (offline_at, ended_ms) = next(iter(self._left.items()))  # they are in the order of their times
            if offline_at > now:
                break
            del self._left[user_id]
            self._note(user_id, ended_ms)
            if (account := self._known.get(user_id)) is not None:
                account.last_seen_ms = max(account.last_seen_ms, ended_ms)
            self._announce(user_id)
        if self._due:
            self._wake.set()

    def _follow_ownership(self, now: float) -> None:
        owned, before = self._partitions.owned, self._owned_since
        self._owned_since = {partition: before.get(partition, now) for partition in owned}
        if before.keys() - owned:
            for user_id in [user_id for user_id in self._left if not self._owns(user_id)]:
                self._note(user_id, self._left.pop(user_id)[1])
        self._unsettled = (self._unsettled & owned) | (owned - before.keys())
        settled = {part for part in self._unsettled if self._owned_since[part] + OFFLINE_SECONDS <= now}
        self._unsettled -= settled
        if settled:  # a user who has not come back by now is offline
            for user_id in tuple(self._watchers):
                if self._partitions.partition_of(user_id) in settled and not self.is_online(user_id):
                    self._announce(user_id)

    # ---- to gateways

    def _announce(self, user_id: int) -> None:
        """Send the user's state to the gateways that watch them, with the next tick: the changes of a second share the
        sends to a session."""
        if watching := self._watching(user_id):
            self._due.setdefault(user_id, set()).update(watching)

    def _watching(self, user_id: int) -> Sequence[int]:
        """The gateways that watch the user now."""
        watchers = self._watchers.get(user_id)
        if watchers is None:
            return ()
        now = trio.current_time()
        for gateway in [gateway for gateway, until in watchers.items() if until <= now]:
            del watchers[gateway]
        if not watchers:
            del self._watchers[user_id]
            self._known.pop(user_id, None)
        return tuple(watchers)

    async def _send_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            due, self._due = self._due, {}
            for user_ids in batches(due):
                await self._send({user_id: due[user_id] for user_id in user_ids})

    async def _send(self, due: Mapping[int, set[int]]) -> None:
        """Send the states that users have after their accounts were read. If the store is away, the next round of each
        gateway that watches gets them."""
        try:
            await self._read_accounts(list(due))
        except Unavailable as error:
            _log.warning("presence_not_sent", users=len(due), error=str(error))
            return
        to_send: dict[tuple[int, bool], list[Presence]] = defaultdict(list)
        for user_id, gateways in due.items():
            presence, is_provisional = self._presence(user_id)
            for gateway in gateways if self._owns(user_id) else ():
                to_send[gateway, is_provisional].append(presence)
        for (gateway, is_provisional), presences in to_send.items():
            self._publisher.presence_changed(gateway, presences, is_provisional=is_provisional)

    def _presence(self, user_id: int) -> tuple[Presence, bool]:
        """The presence of a user, and whether it is provisional: see PresenceChanged in signals.proto."""
        account = self._known.get(user_id)
        if account is None or not account.shows_presence:
            return Presence(user_id=user_id), False
        if self.is_online(user_id):
            return Presence(user_id=user_id, is_online=True), False
        partition = self._partitions.partition_of(user_id)
        is_provisional = partition in self._unsettled or partition not in self._owned_since
        return Presence(user_id=user_id, last_seen_ms=account.last_seen_ms), is_provisional

    async def _read_accounts(self, user_ids: Sequence[int]) -> None:
        """Read the accounts that are not known or not fresh; again if they change meanwhile. Raises Unavailable."""
        now = trio.current_time()
        unread = [
            user_id
            for user_id in user_ids
            if user_id not in self._known or self._known[user_id].read_at + FRESH_SECONDS <= now
        ]
        while unread:
            now, self._reading = trio.current_time(), set(unread)
            users = await self._accounts.users(unread)
            seen = await self._accounts.last_seen(unread)
            for user_id in unread:
                self._known.pop(user_id, None)
            for user in users:
                shows_presence = user.shows_presence and not user.is_deleted
                last_seen_ms = max(seen.get(user.user_id, 0), self._notes.get(user.user_id, 0))
                if user.user_id in self._watchers and user.user_id in self._reading:
                    self._known[user.user_id] = _Account(shows_presence, last_seen_ms, now)
            unread = [user_id for user_id in unread if user_id not in self._reading]

    # ---- last seen

    def _note(self, user_id: int, at_ms: int) -> None:
        """Store when the user was last seen, soon."""
        if user_id in self._notes or len(self._notes) < MAX_NOTES:
            self._notes[user_id] = at_ms

    async def _note_forever(self) -> None:
        while True:
            await trio.sleep(TICK_SECONDS)
            await self._store_notes()

    async def _store_notes(self) -> None:
        for user_ids in batches(tuple(self._notes)):
            # Both `close` and the task of every second may be here: the other one may have stored some already.
            notes = {user_id: self._notes[user_id] for user_id in user_ids if user_id in self._notes}
            try:
                await self._accounts.note_last_seen(notes)
            except Unavailable as error:
                _log.warning("last_seen_not_stored", users=len(self._notes), error=str(error))
                return  # with the next tick
            for user_id, at_ms in notes.items():
                if self._notes.get(user_id) == at_ms:
                    del self._notes[user_id]

    def _owns(self, user_id: int) -> bool:
        return self._partitions.tail_of(user_id) is not None
