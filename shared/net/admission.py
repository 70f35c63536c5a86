"""Admits clients' connections, sans I/O: one budget for all listeners of a process, and a cap for each address.

A connection is unauthenticated until its server calls `Slot.authenticate`. When no slot is free, a newcomer closes the
oldest unauthenticated connection, as a good client authenticates within a few round trips; so connections of peers
without an account keep out nobody, and only authenticated connections can fill a listener.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from shared.net.client_address import Network, address_key, forwarded_client, is_among, parse_address
from shared.net.open_files import MOST_CONNECTIONS, connections_allowed
from shared.net.turns import Turn, Turns
from shared.telemetry.logs import Interval
from shared.telemetry.metrics.catalogue import CONNECTIONS_EVICTED

RESERVE = 10
"""Each listener may always have the total, divided by this, of connections, however many the others have."""

ADDRESS_SHARE = 4
"""One address may have at most the total, divided by this, of unauthenticated connections."""

SPARE = 16
"""Slots that WebSocket does not give to sessions, to refuse further ones with a response."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of unauthenticated connections, with the defaults of `shared.settings.ConnectionSettings`."""

    per_address: int = 2_000
    """Most of one IPv4 address, or one /64 of IPv6."""
    idle_seconds: float = 30.0
    """Longest time without a call, over gRPC."""
    total_seconds: float = 300.0
    """Longest life, over gRPC and HTTP."""


class Slot:
    """One admitted connection. Its server calls `release` when the connection has ended."""

    __slots__ = ("_admission", "_close", "address", "is_authenticated", "is_open", "number", "turn")

    def __init__(
        self, admission: "Admission", number: int, address: str, turn: Turn, close: Callable[[], None]
    ) -> None:
        self.number = number
        """Smaller than that of each younger connection of the process. The end of an authentication sets a new one."""
        self.address = address
        """The key of `address_key`; empty if no cap applies."""
        self.turn = turn
        """The turn of the client's address, in which its server processes the client's bytes."""
        self.is_authenticated = False
        self.is_open = True
        self._admission = admission
        self._close = close

    def authenticate(self) -> None:
        """Mark that a client has authenticated on this connection: no newcomer closes it any more."""
        if self.is_open and not self.is_authenticated:
            self._admission.forget_unauthenticated(self)
            self.is_authenticated = True

    def end_authentication(self) -> None:
        """Mark that no client is authenticated on this connection any more: it counts as a new one."""
        if self.is_open and self.is_authenticated:
            self.is_authenticated = False
            self._admission.add_unauthenticated(self)

    def release(self) -> None:
        """Free the slot; nothing if it is free already."""
        if self.is_open:
            self._admission.free(self)
            self.is_open = False

    def evict(self) -> None:
        """Free the slot for a newcomer, and close the connection."""
        self.release()
        self._close()


class Admission:
    """The connections of one listener. Made by `ConnectionBudget.add_listener`."""

    def __init__(
        self, budget: "ConnectionBudget", most: int, trusted_proxies: Sequence[Network], trusts_peers: bool
    ) -> None:
        self.limits = budget.limits
        self.open = 0
        """Admitted connections that are not released."""
        self.unauthenticated: dict[Slot, None] = {}
        """The oldest first."""
        self._budget = budget
        self._most = most
        self._trusted_proxies = trusted_proxies
        self._trusts_peers = trusts_peers

    @property
    def reserve(self) -> int:
        """Connections that this listener may have in any case."""
        return min(self._budget.total // RESERVE, self._most)

    @property
    def is_full(self) -> bool:
        """Whether at most `SPARE` slots are left for authenticated connections. The server should then admit a
        connection only to send a refusal on it."""
        own, of_all = self._most - self.open, self._budget.left_for(self) + self._budget.evictable_for(self)
        return min(own, of_all) + len(self.unauthenticated) <= SPARE

    def admit(self, peer: str, close: Callable[[], None]) -> Slot | None:
        """Admit a connection from the address `peer`; None if all slots are taken by authenticated connections.

        `close` must end the connection at once. It is called when another connection needs the slot, which is free by
        then, so it must not wait.
        """
        address = self._capped(peer)
        self._budget.enforce_cap(address, others=1)
        while not self._has_room():
            if not self._budget.evict_for(self, may_take_from_others=self.open < self._most):
                return None
        slot = self._budget.open_slot(self, address, self._budget.turns.of(peer), close)
        if self._trusts_peers:
            slot.authenticate()
        return slot

    def apply_forwarded(self, slot: Slot, peer: str, forwarded: Sequence[str]) -> None:
        """Count the connection for the client in front of the trusted proxies, and give it that client's turn:
        `forwarded` are the items of its X-Forwarded-For. Ignored unless `peer` is a trusted proxy."""
        client = forwarded_client(peer, forwarded, self._trusted_proxies)
        if client is None or slot.address or not slot.is_open or slot.is_authenticated:
            return
        slot.address = self._capped(str(client))
        slot.turn = self._budget.turns.of(str(client))
        self._budget.add_to_address(slot)
        self._budget.enforce_cap(slot.address)

    def free(self, slot: Slot) -> None:
        """Count the connection as closed. Called by the slot."""
        if not slot.is_authenticated:
            self.forget_unauthenticated(slot)
        self.open -= 1

    def add_unauthenticated(self, slot: Slot) -> None:
        """Let newcomers push the connection out, after all others. Called by the slot."""
        slot.number = self._budget.next_number()
        self.unauthenticated[slot] = None
        self._budget.add_to_address(slot)
        self._budget.enforce_cap(slot.address)

    def forget_unauthenticated(self, slot: Slot) -> None:
        """Let no newcomer push the connection out any more. Called by the slot."""
        self.unauthenticated.pop(slot)
        self._budget.remove_from_address(slot)

    def _capped(self, peer: str) -> str:
        """The key of the address; empty for a trusted proxy, because many clients share its address."""
        address = parse_address(peer)
        if self._trusts_peers or address is None or is_among(self._trusted_proxies, address):
            return ""
        return address_key(peer)

    def _has_room(self) -> bool:
        return self.open < self._most and self._budget.left_for(self) > 0


class ConnectionBudget:
    """The connections that all listeners of a process may have together: `total`, by default from its open files.

    Addresses have the `turns`, if another budget of the process has them too.
    """

    def __init__(
        self, limits: ConnectionLimits | None = None, total: int | None = None, turns: Turns | None = None
    ) -> None:
        self.limits = limits or ConnectionLimits()
        self.total = connections_allowed() if total is None else total
        self.per_address = max(min(self.limits.per_address, self.total // ADDRESS_SHARE), 1)
        """Most unauthenticated connections of one address."""
        self.turns = turns or Turns()
        self.evicted = 0
        """Connections that were closed for a newcomer."""
        self._listeners: list[Admission] = []
        self._addresses: dict[str, dict[Slot, None]] = {}
        """The unauthenticated connections of each address, the oldest first."""
        self._newest = 0
        self._may_log = Interval()

    @property
    def open(self) -> int:
        """Admitted connections of all listeners."""
        return sum(listener.open for listener in self._listeners)

    def add_listener(
        self,
        *,
        most: int = MOST_CONNECTIONS,
        trusted_proxies: Sequence[Network] = (),
        trusts_peers: bool = False,
    ) -> Admission:
        """Add a listener that may have `most` connections. With `trusts_peers`, all count as authenticated."""
        listener = Admission(self, most, trusted_proxies, trusts_peers)
        self._listeners.append(listener)
        return listener

    def left_for(self, listener: Admission) -> int:
        """The free slots that this listener may take: the reserves of the others stay free for them."""
        free = self.total - self.open
        if listener.open < listener.reserve:
            return free
        return free - sum(max(each.reserve - each.open, 0) for each in self._listeners if each is not listener)

    def evictable_for(self, listener: Admission) -> int:
        """How many connections of other listeners may be evicted for this one."""
        others = (each for each in self._listeners if each is not listener)
        return sum(min(len(each.unauthenticated), max(each.open - each.reserve, 0)) for each in others)

    def evict_for(self, listener: Admission, *, may_take_from_others: bool) -> bool:
        """Evict the oldest unauthenticated connection of this listener, or of others that have more than their
        reserve; return whether there was one."""
        candidates = [
            next(iter(each.unauthenticated))
            for each in self._listeners
            if each.unauthenticated and (each is listener or (may_take_from_others and each.open > each.reserve))
        ]
        if not candidates:
            return False
        self._evict(min(candidates, key=lambda slot: slot.number))
        return True

    def enforce_cap(self, address: str, *, others: int = 0) -> None:
        """Evict the oldest unauthenticated connections of an address until it may have `others` more."""
        while len(slots := self._addresses.get(address, {})) + others > self.per_address:
            self._evict(next(iter(slots)))

    def open_slot(self, listener: Admission, address: str, turn: Turn, close: Callable[[], None]) -> Slot:
        """Take a slot, which must be free, for an unauthenticated connection."""
        slot = Slot(listener, self.next_number(), address, turn, close)
        listener.open += 1
        listener.unauthenticated[slot] = None
        self.add_to_address(slot)
        return slot

    def next_number(self) -> int:
        """Return the number of a connection that is younger than all others."""
        self._newest += 1
        return self._newest

    def add_to_address(self, slot: Slot) -> None:
        """Count the connection for its address."""
        if slot.address:
            self._addresses.setdefault(slot.address, {})[slot] = None

    def remove_from_address(self, slot: Slot) -> None:
        """Count the connection for its address no longer."""
        if slots := self._addresses.get(slot.address):
            slots.pop(slot)
            if not slots:
                del self._addresses[slot.address]

    def _evict(self, slot: Slot) -> None:
        self.evicted += 1
        CONNECTIONS_EVICTED.inc()
        if self._may_log.has_passed():
            _log.warning("connections_evicted", total=self.evicted, open=self.open, address=slot.address)
        slot.evict()
