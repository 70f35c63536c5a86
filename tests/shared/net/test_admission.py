"""Admission: newcomers close the oldest unauthenticated connection, within one budget for all listeners."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.net.admission import SPARE, Admission, ConnectionBudget, ConnectionLimits, Slot
from shared.settings import ConnectionSettings

PEER, OTHER, PROXY = "192.0.2.1", "198.51.100.1", "10.0.0.1"
PROXIES = (ip_network("10.0.0.0/8"),)


class Peers:
    """Connects peers to a listener, and notes the numbers of the connections that were closed."""

    def __init__(self, listener: Admission) -> None:
        self.listener = listener
        self.closed: list[int] = []

    def connect(self, peer: str = "", *, authenticated: bool = False) -> Slot | None:
        slots: list[Slot] = []
        slot = self.listener.admit(peer, lambda: self.closed.append(slots[0].number))
        if slot is not None:
            slots.append(slot)
            if authenticated:
                slot.authenticate()
        return slot

    def connect_many(self, count: int, peer: str = "", *, authenticated: bool = False) -> list[Slot]:
        slots = [self.connect(peer, authenticated=authenticated) for _ in range(count)]
        return [slot for slot in slots if slot is not None]


def budget_of(total: int, per_address: int = 1_000) -> ConnectionBudget:
    return ConnectionBudget(ConnectionLimits(per_address=per_address), total)


def test_a_newcomer_closes_the_oldest_connection_that_never_authenticated() -> None:
    peers = Peers(budget_of(3).add_listener())
    first, second, _ = peers.connect_many(3)
    first.authenticate()
    assert peers.connect() is not None
    assert peers.closed == [second.number]
    assert not second.is_open
    assert peers.listener.open == 3


def test_a_connection_whose_authentication_has_ended_is_closed_after_those_of_all_listeners() -> None:
    budget = budget_of(2)
    former, other = Peers(budget.add_listener()), Peers(budget.add_listener())
    ended, waiting = former.connect(authenticated=True), other.connect()
    assert ended is not None
    assert waiting is not None
    ended.end_authentication()
    other.connect()
    assert (ended.is_open, waiting.is_open) == (True, False)


def test_a_newcomer_is_refused_where_all_have_authenticated() -> None:
    peers = Peers(budget_of(3).add_listener())
    slots = peers.connect_many(3, authenticated=True)
    assert peers.connect() is None
    slots[0].release()
    assert peers.connect() is not None
    assert peers.closed == []


def test_peers_of_a_listener_that_trusts_them_are_never_closed() -> None:
    peers = Peers(budget_of(8).add_listener(trusts_peers=True))
    assert len(peers.connect_many(10, PEER)) == 8
    assert peers.closed == []


@pytest.mark.parametrize(
    ("peers", "is_one"),
    [
        ((PEER, f"::ffff:{PEER}"), True),
        ((PEER, OTHER), False),
        (("2001:db8::1", "2001:db8::ffff:2"), True),
        (("2001:db8::1", "2001:db8:0:1::1"), False),
        ((PROXY, PROXY), False),
        (("", ""), False),
    ],
)
def test_an_address_over_its_cap_closes_its_own_oldest_connection(peers: tuple[str, str], is_one: bool) -> None:
    connections = Peers(budget_of(100, per_address=1).add_listener(trusted_proxies=PROXIES))
    first, _ = (connections.connect(peer) for peer in peers)
    assert first is not None
    assert connections.closed == ([first.number] if is_one else [])


def test_authenticated_connections_of_an_address_have_no_cap() -> None:
    peers = Peers(budget_of(100, per_address=2).add_listener())
    peers.connect_many(50, PEER, authenticated=True)
    peers.connect_many(2, PEER)
    assert peers.closed == []


def test_one_address_holds_at_most_a_quarter_of_the_slots() -> None:
    budget = budget_of(40)
    peers = [Peers(budget.add_listener()) for _ in range(2)]
    other = peers[0].connect(OTHER)
    for each in peers:
        each.connect_many(30, PEER)
    assert other is not None
    assert other.is_open
    assert budget.open == 1 + 10


def test_the_client_in_front_of_a_trusted_proxy_has_the_cap_and_not_the_proxy() -> None:
    peers = Peers(budget_of(100, per_address=2).add_listener(trusted_proxies=PROXIES))
    slots = peers.connect_many(4, PROXY)
    for slot, client in zip(slots, [PEER, PEER, OTHER, PEER], strict=True):
        peers.listener.apply_forwarded(slot, PROXY, [client])
    assert slots[1].turn is slots[3].turn is not slots[2].turn
    assert peers.closed == [slots[0].number]


def test_the_forwarded_client_of_another_peer_is_ignored() -> None:
    peers = Peers(budget_of(100, per_address=2).add_listener(trusted_proxies=PROXIES))
    for slot in peers.connect_many(3, PEER):
        peers.listener.apply_forwarded(slot, PEER, [OTHER])
    assert len(peers.closed) == 1


def test_a_listener_takes_slots_from_unauthenticated_connections_of_another() -> None:
    budget = budget_of(20)
    attacked, other = Peers(budget.add_listener()), Peers(budget.add_listener())
    attacked.connect_many(40)
    assert (attacked.listener.open, other.listener.open) == (18, 0)
    assert len(other.connect_many(10, authenticated=True)) == 10
    assert (attacked.listener.open, other.listener.open) == (10, 10)


def test_sessions_leave_some_slots_for_refusals() -> None:
    peers = Peers(budget_of(SPARE + 2).add_listener())
    assert not peers.listener.is_full
    peers.connect_many(2, authenticated=True)
    assert peers.listener.is_full


def test_unauthenticated_connections_of_another_listener_do_not_make_one_full() -> None:
    budget = budget_of(100)
    attacked, other = Peers(budget.add_listener()), Peers(budget.add_listener())
    attacked.connect_many(200)
    other.connect_many(10)
    assert not other.listener.is_full


@given(
    total=st.integers(1, 60),
    listeners=st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=4),
    steps=st.lists(
        st.tuples(st.sampled_from(["connect", "authenticate", "release"]), st.integers(0, 500)), max_size=200
    ),
)
def test_no_order_of_events_exceeds_the_budget(
    total: int, listeners: list[tuple[int, bool]], steps: list[tuple[str, int]]
) -> None:
    """Each listener may always have its reserve, no address exceeds its cap, no authenticated connection is closed, and
    each connection is closed once at the most."""
    budget = budget_of(total, per_address=3)
    admissions = [budget.add_listener(most=most, trusts_peers=trusts) for most, trusts in listeners]
    slots: dict[Slot, str] = {}

    for event, number in steps:
        if event == "connect":
            admission, peer = admissions[number % len(admissions)], f"192.0.2.{number % 5}"
            had_reserve = admission.open < admission.reserve
            made: list[Slot] = []

            def close(made: list[Slot] = made) -> None:
                assert not made[0].is_authenticated
                assert slots.pop(made[0])

            slot = admission.admit(peer, close)
            assert slot is not None or not had_reserve
            if slot is not None:
                made.append(slot)
                slots[slot] = peer
        elif slots:
            slot = list(slots)[number % len(slots)]
            if event == "authenticate":
                slot.authenticate()
            else:
                slot.release()
                del slots[slot]
        assert budget.open == len(slots) <= total
        assert all(admission.open <= most for admission, (most, _) in zip(admissions, listeners, strict=True))
        for peer in set(slots.values()):
            count = sum(1 for slot, its in slots.items() if its == peer and not slot.is_authenticated)
            assert count <= budget.per_address


def test_the_defaults_are_those_of_the_settings() -> None:
    assert ConnectionLimits(**ConnectionSettings().model_dump()) == ConnectionLimits()
