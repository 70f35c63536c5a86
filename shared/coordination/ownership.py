"""The directory: which gateway owns a partition. The BFF reads it to send a client its gateway's address."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import trio

OWNER_SECONDS = 5.0
"""How long a request of the BFF and a sign-in at a gateway wait for the owner of a partition, which has its next one a
second or two after a move."""

WAITED_RETRY_MS = 100
"""When a client may retry that has waited in vain for an owner: soon, since the wait was its pause."""


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """The addresses to which a gateway's clients connect, and the one for other processes of the platform.

    `websocket` is a URL such as `ws://host:8081/session`, or `wss://…` with TLS; `grpc` is `host:port`, or
    `grpcs://host:port`. An empty host (`ws://:8081/session`, `:8082`, `grpcs://:8082`) stands for the host by which the
    client reached the BFF. These two identify the gateway.
    """

    websocket: str
    grpc: str
    internal: str = field(default="", compare=False)
    """For gRPC calls of other processes of the platform: `host:port`, or `grpcs://host:port`. Empty for a gateway of a
    former release, which can't be called."""

    @property
    def is_complete(self) -> bool:
        """Whether both addresses name their host."""
        return "://:" not in self.websocket and "://:" not in self.grpc and not self.grpc.startswith(":")


class Directory(Protocol):
    """Keeps the owner of each partition. Lookups read memory and never wait."""

    def owner(self, partition: int) -> GatewayAddress | None:
        """Return the owner as known in this process; None while the partition has none."""
        ...

    async def changed(self) -> None:
        """Wait until an owner may have changed."""
        ...

    def publish(self, address: GatewayAddress, owned: Collection[int], epoch: int) -> None:
        """Claim these partitions, and no others, for the gateway from now on. The claim is sent in the background, and
        again at intervals. Of two gateways that claim a partition, the one with the higher epoch owns it."""
        ...


class Changes:
    """Wakes all tasks that wait for a change."""

    def __init__(self) -> None:
        self._next = trio.Event()

    def wake(self) -> None:
        self._next.set()
        self._next = trio.Event()

    async def wait(self) -> None:
        await self._next.wait()


@dataclass(frozen=True, slots=True)
class OwnershipClaim:
    """The partitions that a gateway claims."""

    address: GatewayAddress
    owned: frozenset[int]
    epoch: int


class OwnershipClaims:
    """The newest claim of each gateway of this process."""

    def __init__(self) -> None:
        self._claims: dict[GatewayAddress, OwnershipClaim] = {}

    def put(self, claim: OwnershipClaim) -> None:
        self._claims.pop(claim.address, None)  # so that the newest comes last
        self._claims[claim.address] = claim

    def forget(self, claim: OwnershipClaim) -> None:
        """Remove the claim, unless its gateway has made a newer one."""
        if self._claims.get(claim.address) == claim:
            del self._claims[claim.address]

    def all(self) -> Iterable[OwnershipClaim]:
        return tuple(self._claims.values())

    def has(self, address: GatewayAddress) -> bool:
        return address in self._claims

    def of(self, partition: int) -> OwnershipClaim | None:
        """Return the valid claim to a partition: the one with the highest epoch, and of equal epochs the newest."""
        best = None
        for claim in self._claims.values():
            if partition in claim.owned and (best is None or claim.epoch >= best.epoch):
                best = claim
        return best


class LocalDirectory:
    """The directory of a platform that is one process."""

    def __init__(self) -> None:
        self._claims = OwnershipClaims()
        self._changes = Changes()

    def owner(self, partition: int) -> GatewayAddress | None:
        claim = self._claims.of(partition)
        return None if claim is None else claim.address

    async def changed(self) -> None:
        await self._changes.wait()

    def publish(self, address: GatewayAddress, owned: Collection[int], epoch: int) -> None:
        self._claims.put(OwnershipClaim(address, frozenset(owned), epoch))
        self._changes.wake()
