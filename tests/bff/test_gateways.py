"""Addresses of gateways: without a host of their own they get the host of the request."""

import pytest
import trio
from trio.testing import MockClock

from bff import gateways
from bff.gateways import WAIT_SECONDS, Gateways, websocket_origins
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
async def test_an_address_without_a_host_gets_that_of_the_request(
    published: GatewayAddress, websocket: str, grpc: str
) -> None:
    directory = LocalDirectory()
    directory.publish(published, [0], 1)
    location = await Gateways(directory, 1).locate(7, "here")
    assert location is not None
    assert (location.websocket, location.grpc) == (websocket, grpc)
    assert published.is_complete == (published.websocket == websocket and published.grpc == grpc)
    origin = websocket.rpartition("/")[0]
    assert websocket_origins(directory, 1, "here") == [origin]


async def test_a_request_waits_for_an_owner_but_not_long_and_not_too_many_do(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(gateways, "MAX_WAITING", 1)
    directory = LocalDirectory()
    bff = Gateways(directory, 1)
    for owned, waits in (([], WAIT_SECONDS), ([0], 2.0)):
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def waiting(owned: list[int] = owned, waits: float = waits, begin: float = begin) -> None:
                assert (await bff.locate(7, "here") is not None) == bool(owned)
                assert trio.current_time() - begin == waits

            await trio.sleep(2)
            assert await bff.locate(7, "here") is None
            assert trio.current_time() - begin == 2, "one request too many waited"
            directory.publish(GatewayAddress("ws://:8081/session", ":8082"), owned, 1)
