"""A gateway with signals, users whose sessions come and go, and no transports."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import trio
import trio.testing

from messaging.gateway.frames import ProtobufEncoding
from messaging.gateway.lookups import Lookups
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.registry import Registry
from messaging.gateway.requests import WatchRequest
from messaging.gateway.rosters import Rosters
from messaging.gateway.session import Command, Session
from messaging.gateway.signals.exchange import SignalExchange
from rookery.v1.session_pb2 import Event, Position, ServerFrame
from shared.accounts.people import Relationship
from shared.accounts.store import User
from shared.accounts.tokens import Claims
from shared.configuration import LiveConfiguration
from shared.contract.errors import Refusal, Unavailable
from shared.contract.partitions import partition_of
from shared.coordination.ownership import GatewayAddress, LocalDirectory
from shared.signals.memory import LocalSignals
from tests.messaging.gateway.harness import ScriptedHistory

PARTITIONS = 4
ALL = frozenset(range(PARTITIONS))


class Consumer:
    held_until = float("inf")


class World:
    """Gateways that share signals, a directory and accounts."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.signals = LocalSignals()
        self.directory = LocalDirectory()
        self.hidden: set[int] = set()
        """Users who hide their presence."""
        self.hiding_marks: set[int] = set()
        self.blocks: set[frozenset[int]] = set()
        self.seen: dict[int, int] = {}
        self.notes: list[Mapping[int, int]] = []
        """The writes of `last_seen`."""
        self.reads = 0
        self.is_away = False
        """Whether the store of accounts does not answer."""

    async def gateway(self, owned: Collection[int]) -> "GatewayOfUsers":
        """A gateway that has just taken over these partitions."""
        gateway = GatewayOfUsers(self, len(self.notes))
        await self.nursery.start(gateway.exchange.run)
        gateway.own(owned)
        await settle()
        return gateway

    # ---- the accounts

    async def users(self, user_ids: Sequence[int]) -> Sequence[User]:
        await self._answer()
        self.reads += 1
        found = [User(each, f"user{each}", "", "", 1, 1, shows_presence=each not in self.hidden) for each in user_ids]
        return [replace(each, shows_read_marks=each.user_id not in self.hiding_marks) for each in found]

    async def relationships(self, user_id: int, other_ids: Sequence[int]) -> Mapping[int, Relationship]:
        await self._answer()
        pairs = {other: frozenset((user_id, other)) in self.blocks for other in other_ids}
        return {other: Relationship(user_id, other, blocked_ms=int(is_blocked)) for other, is_blocked in pairs.items()}

    async def last_seen(self, user_ids: Sequence[int]) -> Mapping[int, int]:
        await self._answer()
        return {each: self.seen[each] for each in user_ids if each in self.seen}

    async def note_last_seen(self, seen: Mapping[int, int]) -> None:
        await self._answer()
        self.notes.append(seen)
        self.seen |= seen

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise Unavailable("away")


class GatewayOfUsers:
    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.partitions = OwnedPartitions(PARTITIONS)
        self.partitions.set_consumer(cast(Any, Consumer()))
        self.registry = Registry()
        self.history = ScriptedHistory()
        self.rosters = Rosters(self.history, PARTITIONS, lambda _: None, self.history.is_complete)
        self.forgotten: list[int] = []
        self.address = GatewayAddress(f"ws://{id(self)}", f"grpc:{id(self)}")
        self.exchange = SignalExchange(
            world.signals,
            self.partitions,
            self.registry,
            self.rosters,
            world.directory,
            cast(Any, world),
            self.forgotten.append,
            Lookups(cast(Any, world), cast(Any, None), cast(Any, None), self.partitions).showing_read_marks,
        )

    def own(self, partitions: Collection[int]) -> None:
        """Own these partitions and no others."""
        self.partitions.remove(self.partitions.tails.keys() - set(partitions))
        for partition in set(partitions) - self.partitions.tails.keys():
            self.partitions.assign(partition, 0, 0, 0, 0.0)
            self.partitions.own(partition)
        self.world.directory.publish(self.address, partitions, 1)

    def sign_in(self, user_id: int) -> "UserSession":
        assert partition_of(user_id, PARTITIONS) in self.partitions.tails
        return UserSession(self, user_id)


class UserSession:
    """A live session."""

    def __init__(self, gateway: GatewayOfUsers, user_id: int) -> None:
        self._gateway = gateway
        configuration: Callable[[], LiveConfiguration] = LiveConfiguration
        self.session = Session(f"session-{id(self)}", ProtobufEncoding(), configuration, trio.current_time())
        gateway.registry.add(self.session)
        self.session.welcome(Claims(user_id, "family", 2**60), Position(), [], None, 1)
        gateway.registry.attach(self.session)
        self.session.take()

    async def refused(self, *user_ids: int) -> Refusal:
        refusal = await self._watch(user_ids)
        assert refusal is not None
        return refusal

    async def _watch(self, user_ids: tuple[int, ...]) -> Refusal | None:
        request = WatchRequest(user_ids)
        return await self._gateway.exchange.watches.watch(Command(self.session, request, 7, 0.0), request)

    async def watch(self, *user_ids: int) -> None:
        """Watch these users; the Accepted is checked here."""
        assert await self._watch(user_ids) is None
        await settle()
        frames = [ServerFrame.FromString(frame) for frame in self.session.take()]
        assert frames[0].accepted.frame == 7
        self._events = [frame.event for frame in frames[1:]]

    async def events(self) -> list[Event]:
        """The events since the last call."""
        await settle()
        taken = [ServerFrame.FromString(frame).event for frame in self.session.take()]
        events, self._events = [*self._events, *taken], []
        return events

    async def presences(self) -> dict[int, int | None]:
        """By user, the newest presence since the last call: None for online, else when they were last seen."""
        found = [event.presence for event in await self.events()]
        assert all(found), "other events"
        return {each.user_id: None if each.is_online else each.last_seen_ms for each in found}

    def leave(self) -> None:
        self._gateway.exchange.watches.close(self.session)
        self._gateway.registry.remove(self.session)


async def elapse(clock: trio.testing.MockClock, seconds: float) -> None:
    """Let time pass in small steps, in which each task that is due runs."""
    for _ in range(int(seconds * 2)):
        clock.jump(0.5)
        await settle()


async def settle() -> None:
    """Wait until all signals have been handled."""
    await trio.testing.wait_all_tasks_blocked()
