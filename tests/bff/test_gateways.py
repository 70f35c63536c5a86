"""Addresses of gateways: without a host of their own they get the host of the request."""

import pytest
import trio
from trio.testing import MockClock

from bff import gateways
from bff.gateways import WAIT_FOR_ANOTHER_SECONDS, Gateways, websocket_origins
from shared.contract.errors import Refusal
from shared.coordination.ownership import OWNER_SECONDS, WAITED_RETRY_MS, GatewayAddress, LocalDirectory


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
    assert not isinstance(location, Refusal)
    assert (location.websocket, location.grpc) == (websocket, grpc)
    assert published.is_complete == (published.websocket == websocket and published.grpc == grpc)
    origin = websocket.rpartition("/")[0]
    assert websocket_origins(directory, 1, "here") == [origin]


async def test_a_request_waits_for_an_owner_or_for_another_than_an_unreachable_one_but_not_long(
    autojump_clock: MockClock,
) -> None:
    directory = LocalDirectory()
    bff = Gateways(directory, 1)
    one, two = (GatewayAddress(f"ws://{name}/session", f"{name}:8082") for name in ("one", "two"))

    async def located(unreachable: str = "") -> tuple[str | None, float]:
        begin = trio.current_time()
        location = await bff.locate(7, "here", unreachable)
        return None if isinstance(location, Refusal) else location.grpc, trio.current_time() - begin

    async def publish(address: GatewayAddress, epoch: int) -> None:
        await trio.sleep(1)
        directory.publish(address, [0], epoch)

    assert await located() == (None, OWNER_SECONDS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish, one, 1)
        assert await located() == ("one:8082", 1)
    assert await located("elsewhere:1") == ("one:8082", 0)
    for unreachable in (one.grpc, one.websocket):
        assert await located(unreachable) == ("one:8082", WAIT_FOR_ANOTHER_SECONDS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish, two, 2)
        assert await located(one.grpc) == ("two:8082", 1)


async def test_a_request_that_has_waited_in_vain_may_be_repeated_soon(autojump_clock: MockClock) -> None:
    refusal = await Gateways(LocalDirectory(), 1).locate(7, "here")
    assert isinstance(refusal, Refusal)
    assert (trio.current_time(), refusal.retry_after_ms) == (OWNER_SECONDS, WAITED_RETRY_MS)


async def test_not_too_many_requests_wait(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    monkeypatch.setattr(gateways, "MAX_WAITING", 1)
    bff = Gateways(LocalDirectory(), 1)
    for _ in range(2):  # the end of a request makes room
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bff.locate, 7, "here")
            await trio.sleep(1)
            begin = trio.current_time()
            refusal = await bff.locate(7, "here")
            assert isinstance(refusal, Refusal)
            assert (trio.current_time(), refusal.retry_after_ms) == (begin, 0), "a refusal without its own has a pause"
