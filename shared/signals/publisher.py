"""Publishes the signals of the platform, each to the gateways that own its users' partitions. No method waits or fails.

A gateway listens to the channels of the partitions that are assigned to it, and to its own, by its number.
"""

from collections.abc import Collection, Iterable, Mapping

from rookery.v1.session_pb2 import Event, GroupMarks, Presence, ProfileChanged, Typing
from rookery.v1.signals_pb2 import PresenceChanged, Signal, SignalEvent, Watched
from shared.contract.partitions import partition_of
from shared.signals.protocol import Signals

MAX_USERS = 500
"""Users in one signal: about 5 KB."""


def partition_channel(partition: int) -> str:
    """The channel of the gateway that owns the partition."""
    return f"partition:{partition}"


def gateway_channel(gateway: int) -> str:
    """The channel of the gateway with this number."""
    return f"gateway:{gateway}"


class SignalPublisher:
    """Publishes typing, marks, presence and changed profiles; one for each gateway and each BFF."""

    def __init__(self, signals: Signals, partitions: int) -> None:
        self._signals = signals
        self._partitions = partitions

    def typing(self, typing: Typing, users: Mapping[int, Iterable[int]]) -> None:
        """Send Typing to the sessions of these users, by partition, except the sessions of the typing user."""
        self._to_others(Event(typing=typing), {typing.user_id}, users)

    def group_marks(self, marks: GroupMarks, users: Mapping[int, Iterable[int]]) -> None:
        """Send marks of a group to the sessions of these users, by partition; not to the user whose mark is the only
        one."""
        self._to_others(Event(group_marks=marks), {mark.user_id for mark in marks.marks}, users)

    def profile_changed(self, user_id: int) -> None:
        """Announce that the user has changed their profile or `shows_presence`, to their sessions and to those that
        watch them."""
        event = Event(profile_changed=ProfileChanged(user_id=user_id))
        signal = Signal(event=SignalEvent(event=event, recipient_ids=[user_id], is_for_watchers=True))
        self._to_partition(partition_of(user_id, self._partitions), signal)

    def watched(self, gateway: int, user_ids: Iterable[int]) -> None:
        """Watch users for the gateway with this number: see Watched in signals.proto."""
        for partition, users in self._by_partition(user_ids).items():
            for start in range(0, len(users), MAX_USERS):
                watched = Watched(gateway=gateway, user_ids=users[start : start + MAX_USERS])
                self._to_partition(partition, Signal(watched=watched))

    def presence_changed(self, gateway: int, presences: Iterable[Presence], *, is_provisional: bool) -> None:
        """Send the present state of users to a gateway: see PresenceChanged in signals.proto."""
        changed = PresenceChanged(presences=presences, is_provisional=is_provisional)
        self._to_gateway(gateway, Signal(presence_changed=changed))

    def forward(self, gateway: int, event: Event) -> None:
        """Send an event to the sessions of a gateway that watch its subject."""
        self._to_gateway(gateway, Signal(event=SignalEvent(event=event, is_for_watchers=True)))

    def _to_others(self, event: Event, authors: Collection[int], users: Mapping[int, Iterable[int]]) -> None:
        """Send an event to the sessions of these users, by partition, except to its only author."""
        for partition, user_ids in users.items():
            others = [user_id for user_id in user_ids if user_id not in authors or len(authors) > 1]
            if others:
                self._to_partition(partition, Signal(event=SignalEvent(event=event, recipient_ids=others)))

    def _by_partition(self, user_ids: Iterable[int]) -> Mapping[int, list[int]]:
        users: dict[int, list[int]] = {}
        for user_id in user_ids:
            users.setdefault(partition_of(user_id, self._partitions), []).append(user_id)
        return users

    def _to_partition(self, partition: int, signal: Signal) -> None:
        self._signals.publish(partition_channel(partition), signal.SerializeToString())

    def _to_gateway(self, gateway: int, signal: Signal) -> None:
        self._signals.publish(gateway_channel(gateway), signal.SerializeToString())
