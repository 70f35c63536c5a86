"""Receives the signals for this gateway: for the partitions that are assigned to it, and for itself."""

import random
from collections.abc import Callable

import structlog
import trio
from google.protobuf.message import DecodeError

from messaging.gateway.frames import SharedEvent
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.registry import Registry
from messaging.gateway.rosters import Rosters
from messaging.gateway.signals.group_marks import GroupMarksExchange, ShowingReadMarks
from messaging.gateway.signals.presences import Presences
from messaging.gateway.signals.watches import Watches
from rookery.v1.signals_pb2 import Signal, SignalEvent
from shared.accounts.store import AccountStore
from shared.background import open_background
from shared.contract.ids import MAX_ID
from shared.coordination.ownership import Directory
from shared.signals.protocol import Listener, Signals
from shared.signals.publisher import SignalPublisher, gateway_channel, partition_channel

SLICE = 500
"""Signals received before other tasks get their turn: about 10 ms of work."""

_log = structlog.get_logger(__name__)


class SignalExchange:
    """Receives signals, and delivers them to sessions; one for each gateway."""

    def __init__(
        self,
        signals: Signals,
        partitions: OwnedPartitions,
        registry: Registry,
        rosters: Rosters,
        directory: Directory,
        accounts: AccountStore,
        forget_user: Callable[[int], None],
        showing_read_marks: ShowingReadMarks,
    ) -> None:
        """`forget_user` is called with each user of this gateway who has changed their profile or settings."""
        self._signals = signals
        self._partitions = partitions
        self._registry = registry
        self._rosters = rosters
        self._forget_user = forget_user
        self._number = random.getrandbits(63)
        self.publisher = SignalPublisher(signals, partitions.count)
        self.presences = Presences(partitions, registry, accounts, self.publisher)
        self.watches = Watches(self._number, partitions.count, accounts, directory, self.publisher)
        self.group_marks = GroupMarksExchange(registry, rosters, self.publisher, showing_read_marks)
        registry.on_presence = self.presences.sessions_changed

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive signals until cancelled."""
        async with self._signals.listen() as listener, open_background() as nursery:
            self._partitions.on_change = lambda: self._listen(listener)
            self._listen(listener)
            nursery.start_soon(self.presences.run)
            nursery.start_soon(self.watches.run)
            nursery.start_soon(self.group_marks.run)
            task_status.started()
            while True:
                values = await listener.receive()
                for start in range(0, len(values), SLICE):
                    for value in values[start : start + SLICE]:
                        self.receive(value)
                    await trio.lowlevel.checkpoint()

    def receive(self, value: bytes) -> None:
        """Handle a signal."""
        try:
            signal = Signal.FromString(value)
        except DecodeError:
            _log.error("poison_signal", bytes=len(value))
            return
        match signal.WhichOneof("signal"):
            case "event":
                self._deliver(signal.event)
            case "watched":
                self.presences.watch(signal.watched.gateway, signal.watched.user_ids)
            case "presence_changed":
                self.watches.receive(signal.presence_changed)
            case _:  # of a newer release
                pass

    def forget_relationship(self, user_id: int, other_id: int) -> None:
        """Read again what these two users may see of each other."""
        self.watches.forget_viewer(user_id)
        self.watches.forget_viewer(other_id)

    def _listen(self, listener: Listener) -> None:
        """Listen from the assignment of a partition on: its owner is asked as soon as it is announced."""
        listener.listen_to([gateway_channel(self._number), *map(partition_channel, self._partitions.tails)])

    def _deliver(self, signal: SignalEvent) -> None:
        event, recipient_ids = signal.event, tuple(signal.recipient_ids)
        if event.HasField("group_marks"):
            self.group_marks.receive(event, recipient_ids)
            return
        if event.HasField("typing"):  # its sender may not have read who has left the group
            recipient_ids = self._rosters.within(event.typing.chat_id, 0, MAX_ID, recipient_ids)
        shared = SharedEvent(event, event.ByteSize())
        for recipient_id in recipient_ids:
            for session in self._registry.of(recipient_id):
                session.signal(shared)
        if not event.HasField("profile_changed"):
            return
        user_id = event.profile_changed.user_id
        if signal.recipient_ids:  # of the BFF, to the owner, which knows who watches
            self._forget_user(user_id)
            self.presences.profile_changed(event)
            self.watches.forget_viewer(user_id)
        elif signal.is_for_watchers:
            self.watches.deliver(user_id, shared)
