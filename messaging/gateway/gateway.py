"""The gateway's parts, composed: opens and closes sessions, ticks their clocks, and drains them."""

import random
import secrets
from collections.abc import Collection

import structlog
import trio

from messaging.gateway import tracing
from messaging.gateway.access import Access
from messaging.gateway.channels import Channels
from messaging.gateway.dispatch import Dispatcher
from messaging.gateway.files import FileLookups
from messaging.gateway.follows import Follows
from messaging.gateway.frames import Encoding
from messaging.gateway.groups.sequencer import Sequencer
from messaging.gateway.history import History
from messaging.gateway.log_consumer import SETTLE_SECONDS, LogConsumer
from messaging.gateway.lookups import Lookups
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.previews import Previewer, Previews
from messaging.gateway.publisher import Publisher
from messaging.gateway.registry import Registry
from messaging.gateway.requests import KeptRequest
from messaging.gateway.rosters import Rosters
from messaging.gateway.session import Session
from messaging.gateway.sign_in import SignIn
from messaging.gateway.signals.exchange import SignalExchange
from shared.accounts.store import AccountStore
from shared.accounts.tokens import TokenVerifier
from shared.backplane import Backplane
from shared.configuration.live import Live
from shared.contract.ids import SnowflakeGenerator, wall_clock_ms
from shared.coordination.ownership import Directory, GatewayAddress
from shared.signals.protocol import Signals
from shared.telemetry.metrics.catalogue import SESSIONS_ENDED, SESSIONS_OPENED

TICK_SECONDS = 1.0
"""How often sessions check their deadlines."""

RECONNECT_SPREAD_MS = 2_000
"""Clients of a gateway that stops reconnect over this time, not all at once."""

_log = structlog.get_logger(__name__)


class Gateway:
    """One gateway of a process, and its parts as attributes. Its transports open and close sessions."""

    def __init__(
        self,
        *,
        address: GatewayAddress,
        backplane: Backplane,
        accounts: AccountStore,
        verifier: TokenVerifier,
        history: History,
        directory: Directory,
        live: Live,
        ids: SnowflakeGenerator,
        signals: Signals,
        previewer: Previewer | None = None,
    ) -> None:
        """Without a previewer, links get no previews."""
        self.live = live
        self.registry = Registry()
        self.partitions = OwnedPartitions(backplane.partitions)
        lookups = Lookups(accounts, history, backplane, self.partitions)
        self.rosters = Rosters(history, backplane.partitions, ids.follow, lookups.is_history_complete)
        self.signals = SignalExchange(
            signals,
            self.partitions,
            self.registry,
            self.rosters,
            directory,
            accounts,
            lookups.forget_user,
            lookups.showing_read_marks,
        )
        access = Access(lookups, self.rosters, self.partitions, ids, live)
        files = FileLookups(history, lookups, self.rosters, access, self.partitions)
        publisher = self.signals.publisher
        self.publisher = Publisher(backplane, lookups, files, self.rosters, access, self.partitions, ids, publisher)
        self.previews = None if previewer is None else Previews(previewer, self.publisher, lookups, self.rosters, live)
        self.publisher.on_done = self._on_done
        self.channels = Channels(self.registry, self.partitions)
        self.follows = Follows(self.channels, self.rosters, access)

        async def fence_again(partition: int) -> None:
            await self.log_consumer.fence_again(partition)

        self.sequencer = Sequencer(backplane, self.partitions, self.rosters, history, accounts, ids, fence_again)

        def forget_relationship(user_id: int, other_id: int) -> None:
            lookups.forget_relationship(user_id, other_id)
            self.signals.forget_relationship(user_id, other_id)

        self.log_consumer = LogConsumer(
            backplane,
            self.partitions,
            self.registry,
            self.channels,
            self.rosters,
            directory,
            address,
            live,
            ids,
            self._wait_idle,
            lookups.forget_user,
            forget_relationship,
        )
        sign_in = SignIn(verifier, self.partitions, self.registry, directory, address, live)
        self.dispatcher = Dispatcher(sign_in, self.publisher, self.signals.watches, self.follows, live)

    @property
    def is_draining(self) -> bool:
        """Whether the gateway is stopping: each session that is opened now ends at once."""
        return self.publisher.is_closed

    def open_session(self, encoding: Encoding) -> Session:
        """A session for a new connection, whose transport must close it with `close_session`."""
        session = Session(secrets.token_hex(8), encoding, lambda: self.live.value, trio.current_time())
        self.registry.add(session)
        SESSIONS_OPENED.inc(encoding.transport)
        if self.is_draining:
            session.reconnect(0)
        return session

    def close_session(self, session: Session) -> None:
        """Remove the session of a connection that has ended."""
        self.signals.watches.close(session)
        self.channels.leave(session)
        self.registry.remove(session)
        session.abandon()
        _log.debug("session_closed", frames=session.frames_received)
        tracing.fail_deliveries(session)
        SESSIONS_ENDED.inc(session.end_reason)

    async def tick_forever(self) -> None:
        """Have every session check its deadlines, until cancelled."""
        while True:
            await trio.sleep(TICK_SECONDS)
            now, now_ms = trio.current_time(), wall_clock_ms()
            for session in self.registry:
                session.tick(now, now_ms)

    async def drain(self) -> None:
        """Answer the events in flight, within SETTLE_SECONDS, leave the group, send every client Reconnect, and wait
        until all have gone.

        The group is left before the clients reconnect, so that their partitions have a next owner by then.
        """
        self.publisher.is_closed = self.sequencer.is_closed = True
        with trio.move_on_after(SETTLE_SECONDS):
            await self._wait_idle()
        await self.log_consumer.leave()
        for session in self.registry:
            session.reconnect(random.randrange(RECONNECT_SPREAD_MS))  # noqa: S311 - spreads load, guards nothing
        await self.signals.presences.close()
        await self.registry.wait_empty()

    def _on_done(self, user_id: int, request: KeptRequest, event_id: int, is_stored: bool) -> None:
        if is_stored:
            self.signals.group_marks.note(user_id, request)
        if self.previews is not None:
            self.previews.offer(user_id, request, event_id, is_stored)

    async def _wait_idle(self, partitions: Collection[int] | None = None) -> None:
        """Wait until no message, change or control change is in flight, or none of these partitions."""
        await self.publisher.wait_idle(partitions)
        await self.sequencer.wait_idle(partitions)
