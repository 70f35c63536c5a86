"""Addresses of gateways: the gateway of a user, and the origins that the page may connect to."""

from urllib.parse import urlsplit

import trio

from bff.models.accounts import GatewayLocation
from shared.contract.errors import Code, Refusal
from shared.contract.partitions import partition_of
from shared.coordination.ownership import OWNER_SECONDS, WAITED_RETRY_MS, Directory, GatewayAddress

WAIT_FOR_ANOTHER_SECONDS = 2.0
"""How long a request waits for another owner than an unreachable one: that may be back soon at its address."""

MAX_WAITING = 500
"""Requests that wait at once, a quarter of a BFF's connections; the next ones are answered at once."""

_NO_GATEWAY = Refusal(Code.UNAVAILABLE, "No gateway serves this user now: try again soon.")
_WAITED = Refusal(_NO_GATEWAY.code, _NO_GATEWAY.message, retry_after_ms=WAITED_RETRY_MS)


class Gateways:
    """Finds the gateways of users; one for each BFF."""

    def __init__(self, directory: Directory, partitions: int) -> None:
        self._directory = directory
        self._partitions = partitions
        self._waiting = 0

    async def locate(self, user_id: int, host: str, unreachable: str = "") -> GatewayLocation | Refusal:
        """The address of the gateway that owns the user's partition. Waits for one if none does, or if the address is
        `unreachable`, as long as the constants above allow; then it is a refusal, or the unreachable one.

        An address without a host gets `host`, by which the client reached the BFF.
        """
        partition = partition_of(user_id, self._partitions)
        location = self._locate(partition, host)
        is_unreachable = location is not None and unreachable in (location.websocket, location.grpc)
        may_wait = self._waiting < MAX_WAITING
        if (location is None or is_unreachable) and may_wait:
            self._waiting += 1
            try:
                with trio.move_on_after(WAIT_FOR_ANOTHER_SECONDS if is_unreachable else OWNER_SECONDS):
                    while location is None or unreachable in (location.websocket, location.grpc):
                        await self._directory.changed()
                        location = self._locate(partition, host)
            finally:
                self._waiting -= 1
        return location or (_WAITED if may_wait else _NO_GATEWAY)

    def _locate(self, partition: int, host: str) -> GatewayLocation | None:
        address = self._directory.owner(partition)
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
