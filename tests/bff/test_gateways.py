"""Addresses of gateways: without a host of their own they get the host of the request."""

import pytest

from bff.gateways import locate, websocket_origins
from shared.coordination.ownership import GatewayAddress, LocalDirectory


@pytest.mark.parametrize(
    ("published", "websocket", "grpc"),
    [
        (GatewayAddress("ws://:8081/session", ":8082"), "ws://here:8081/session", "here:8082"),
        (GatewayAddress("wss://:8081/session", "grpcs://:8082"), "wss://here:8081/session", "grpcs://here:8082"),
        (
            GatewayAddress("wss://two.example/s", "grpcs://two.example:443"),
            "wss://two.example/s",
            "grpcs://two.example:443",
        ),
        (GatewayAddress("ws://two.example/s", "two.example:443"), "ws://two.example/s", "two.example:443"),
    ],
)
def test_an_address_without_a_host_gets_that_of_the_request(
    published: GatewayAddress, websocket: str, grpc: str
) -> None:
    directory = LocalDirectory()
    directory.publish(published, [0], 1)
    location = locate(directory, 1, 7, "here")
    assert location is not None
    assert (location.websocket, location.grpc) == (websocket, grpc)
    assert published.is_complete == (published.websocket == websocket and published.grpc == grpc)
    origin = websocket.rpartition("/")[0]
    assert websocket_origins(directory, 1, "here") == [origin]
