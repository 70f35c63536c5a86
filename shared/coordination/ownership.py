"""Which gateway has a partition: what the BFF answers a client that asks where its sessions go."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Where a gateway's clients connect.

    `websocket` is a URL such as `ws://host:8081/session`, or `wss://…` with TLS; `grpc` is `host:port`, or
    `grpcs://host:port`. A host left out (`ws://:8081/session`, `:8082`, `grpcs://:8082`) is the one by which the client
    reached us.
    """

    websocket: str
    grpc: str

    @property
    def is_complete(self) -> bool:
        """Whether it can be used without knowing that host."""
        return "://:" not in self.websocket and "://:" not in self.grpc and not self.grpc.startswith(":")


class Directory(Protocol):
    """Keeps the owner of each partition. Reading is from memory, so that a lookup never waits."""

    def owner(self, partition: int) -> GatewayAddress | None:
        """The owner, as far as is known here; None while a partition has none."""
        ...

    def publish(self, address: GatewayAddress, owned: Collection[int], epoch: int) -> None:
        """A gateway says what it has from now on: these, and no others. It is told as soon as the engine answers, and
        again now and then. Of two gateways that say so of one partition, the one with the higher epoch is believed."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What a gateway says that it has."""

    address: GatewayAddress
    owned: frozenset[int]
    epoch: int


class Claims:
    """What gateways of this process said last."""

    def __init__(self) -> None:
        self._claims: dict[GatewayAddress, Claim] = {}

    def put(self, claim: Claim) -> None:
        self._claims.pop(claim.address, None)  # so that the newest comes last
        self._claims[claim.address] = claim

    def forget(self, claim: Claim) -> None:
        """Forget it, unless its gateway has said something else since."""
        if self._claims.get(claim.address) == claim:
            del self._claims[claim.address]

    def all(self) -> Iterable[Claim]:
        return tuple(self._claims.values())

    def has(self, address: GatewayAddress) -> bool:
        return address in self._claims

    def of(self, partition: int) -> Claim | None:
        """The claim to a partition that is believed: the highest epoch's, and of two such the newer."""
        best = None
        for claim in self._claims.values():
            if partition in claim.owned and (best is None or claim.epoch >= best.epoch):
                best = claim
        return best


class LocalDirectory:
    """The directory of a platform that is one process."""

    def __init__(self) -> None:
        self._claims = Claims()

    def owner(self, partition: int) -> GatewayAddress | None:
        claim = self._claims.of(partition)
        return None if claim is None else claim.address

    def publish(self, address: GatewayAddress, owned: Collection[int], epoch: int) -> None:
        self._claims.put(Claim(address, frozenset(owned), epoch))
