"""Addresses of gateways: the gateway of a user, and the origins that the page may connect to."""

from urllib.parse import urlsplit

from bff.models import GatewayLocation
from shared.contract.partitions import partition_of
from shared.coordination.ownership import Directory, GatewayAddress, owner_within

WAIT_SECONDS = 5.0
"""How long a request waits for an owner: a partition that moves has its next one after a second or two."""

MAX_WAITING = 500
"""Requests that wait at once, a quarter of a BFF's connections; the next ones are refused at once."""


class Gateways:
    """Finds the gateways of users. One for each BFF."""

    def __init__(self, directory: Directory, partitions: int) -> None:
        self._directory = directory
        self._partitions = partitions
        self._waiting = 0

    async def locate(self, user_id: int, host: str) -> GatewayLocation | None:
        """The address of the gateway that owns the user's partition; None if none owns it within WAIT_SECONDS, or now
        if MAX_WAITING requests wait.

        An address without a host gets `host`, by which the client reached the BFF.
        """
        partition = partition_of(user_id, self._partitions)
        address = self._directory.owner(partition)
        if address is None and self._waiting < MAX_WAITING:
            self._waiting += 1
            try:
                address = await owner_within(self._directory, partition, WAIT_SECONDS)
            finally:
                self._waiting -= 1
        if address is None:
            return None
        return GatewayLocation(websocket=_websocket(address, host), grpc=_grpc(address, host))


def websocket_origins(directory: Directory, partitions: int, host: str) -> list[str]:
    """Scheme, host and port of every gateway that owns a partition, for `connect-src`."""
    owners = {owner for partition in range(partitions) if (owner := directory.owner(partition))}
    urls = [urlsplit(_websocket(owner, host)) for owner in owners]
    return sorted({f"{url.scheme}://{url.netloc}" for url in urls if url.hostname})


def _websocket(address: GatewayAddress, host: str) -> str:
    return address.websocket.replace("://:", f"://{host}:", 1)


def _grpc(address: GatewayAddress, host: str) -> str:
    if address.grpc.startswith(":"):
        return host + address.grpc
    return address.grpc.replace("://:", f"://{host}:", 1)
