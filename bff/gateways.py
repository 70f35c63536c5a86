"""Addresses of gateways: the gateway of a user, and the origins that the page may connect to."""

from urllib.parse import urlsplit

from bff.models import GatewayLocation
from shared.contract.partitions import partition_of
from shared.coordination.ownership import Directory, GatewayAddress


def locate(directory: Directory, partitions: int, user_id: int, host: str) -> GatewayLocation | None:
    """The address of the gateway that owns the user's partition; None if no gateway owns it now.

    An address without a host gets `host`, by which the client reached the BFF.
    """
    address = directory.owner(partition_of(user_id, partitions))
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
