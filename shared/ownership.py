"""Which gateway has a partition: what the BFF answers a client that asks where its sessions go."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Where a gateway's clients connect.

    `websocket` is a URL such as `ws://host:8081/session`, `grpc` is `host:port`. A host left out (`ws://:8081/session`,
    `:8082`) is the one by which the client reached us.
    """

    websocket: str
    grpc: str


class Directory(Protocol):
    """Keeps the owner of each partition. Reading is from memory, so that a lookup never waits."""

    def owner(self, partition: int) -> GatewayAddress | None:
        """The owner, as far as is known here; None while a partition has none."""
        ...

    async def publish(self, address: GatewayAddress, gained: Iterable[int], lost: Iterable[int]) -> None:
        """A gateway says what it has from now on, and what no longer."""
        ...


class LocalDirectory:
    """The directory of a platform that is one process."""

    def __init__(self) -> None:
        self._owners: dict[int, GatewayAddress] = {}

    def owner(self, partition: int) -> GatewayAddress | None:
        return self._owners.get(partition)

    async def publish(self, address: GatewayAddress, gained: Iterable[int], lost: Iterable[int]) -> None:
        for partition in lost:
            if self._owners.get(partition) == address:
                del self._owners[partition]
        self._owners.update(dict.fromkeys(gained, address))
