"""A balancer follows the health of its servers, as reported by our health service and by grpcio's."""

# The generated base class calls every request `input_message`:
# pyright: reportIncompatibleMethodOverride=false

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from shared.net.admission import ConnectionBudget, ConnectionLimits
from shared.rpc import OutgoingCall, RpcError, ServerStream, Status, open_balancer, stream_handler
from shared.rpc.standard.health_grpc import HealthServicer
from shared.rpc.standard.health_pb2 import HealthCheckRequest, HealthCheckResponse
from tests.shared.rpc.calling import Archive, get_chat, named
from tests.shared.rpc.conftest import eventually, ready
from tests.shared.rpc.servers import serve_services

Watched = ServerStream[HealthCheckRequest, HealthCheckResponse]

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class HealthOf(HealthServicer):
    """A health service that reports the state that a test sets."""

    def __init__(self, state: HealthCheckResponse.ServingStatus = SERVING) -> None:
        self.watches = 0
        self.services: list[str] = []
        self.metadata: list[tuple[str, str | bytes]] = []
        self.failing: RpcError | None = None
        """The error that ends each watch."""
        self._state = state
        self._changed = trio.lowlevel.ParkingLot()

    def set_state(self, state: HealthCheckResponse.ServingStatus) -> None:
        self._state = state
        self._changed.unpark_all()

    def end_watches(self, error: RpcError) -> None:
        self.failing = error
        self._changed.unpark_all()

    @stream_handler
    async def Watch(self, stream: Watched) -> None:
        request = await stream.receive()
        assert request is not None
        self.services.append(request.service)
        self.metadata.extend(stream.metadata)
        self.watches += 1
        try:
            while self.failing is None:
                await stream.send(HealthCheckResponse(status=self._state))
                await self._changed.park()
            raise self.failing
        finally:
            self.watches -= 1


async def serve(nursery: trio.Nursery, health: HealthServicer, name: str = "a") -> str:
    """Serve an archive beside a health service; return their address."""
    return f"127.0.0.1:{await serve_services(nursery, Archive(named(name)), health)}"


async def test_a_server_that_does_not_serve_gets_no_calls_until_it_does(nursery: trio.Nursery) -> None:
    health = HealthOf()
    addresses = [await serve(nursery, health), await serve(nursery, HealthOf(), "b")]
    async with open_balancer(addresses) as balancer:
        await eventually(ready(balancer, 2))
        assert {await get_chat(balancer) for _ in range(4)} == {"a", "b"}
        health.set_state(NOT_SERVING)
        await eventually(ready(balancer, 1))
        assert {await get_chat(balancer) for _ in range(4)} == {"b"}
        health.set_state(SERVING)
        await eventually(ready(balancer, 2))
        assert {await get_chat(balancer) for _ in range(4)} == {"a", "b"}
        assert health.services == [""]
    await eventually(lambda: health.watches == 0)


async def test_if_none_serves_a_call_is_unavailable_or_waits(nursery: trio.Nursery) -> None:
    health, answers = HealthOf(NOT_SERVING), []

    async def call_when_ready() -> None:
        answers.append(await get_chat(balancer, wait_for_ready=True))

    async with open_balancer([await serve(nursery, health)]) as balancer:
        with pytest.raises(RpcError, match="it is NOT_SERVING") as failure:
            await get_chat(balancer)
        assert failure.value.status is Status.UNAVAILABLE
        nursery.start_soon(call_when_ready)
        await eventually(lambda: balancer.statistics().calls_waiting == 1)
        health.set_state(SERVING)
        await eventually(lambda: answers == ["a"])


async def test_a_server_that_has_reported_no_health_does_not_serve(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    class Silent(HealthServicer):
        @stream_handler
        async def Watch(self, stream: Watched) -> None:
            await trio.sleep_forever()

    async with open_balancer([await serve(nursery, Silent())]) as balancer:
        with pytest.raises(RpcError, match="its health is not known: it does not answer"):
            await get_chat(balancer)


async def test_a_watch_without_a_token_continues_on_a_new_connection_when_the_server_ends_the_old_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    budget, health = ConnectionBudget(ConnectionLimits(total_seconds=60), total=10), HealthOf()
    port = await serve_services(nursery, Archive(named("a")), health, admission=budget.add_listener())
    with capture_logs() as lines:
        async with open_balancer([f"127.0.0.1:{port}"]) as balancer:
            for _ in range(8):
                assert await get_chat(balancer) == "a"
                await trio.sleep(31.7)  # never at a check of the connections' ages
    assert len(health.services) > 2
    assert not [line for line in lines if line["event"] == "rpc_server_away"]


async def test_a_balancer_without_a_health_service_does_not_watch(nursery: trio.Nursery) -> None:
    health = HealthOf(NOT_SERVING)
    async with open_balancer([await serve(nursery, health)], health_service=None) as balancer:
        assert await get_chat(balancer) == "a"
    assert not health.services


async def test_a_watch_names_the_service_and_carries_the_metadata_of_calls(nursery: trio.Nursery) -> None:
    def prepare(call: OutgoingCall) -> OutgoingCall:
        return call.with_metadata(("token", "secret"))

    health = HealthOf()
    address = await serve(nursery, health)
    async with open_balancer([address], health_service="archive", prepare=[prepare]) as balancer:
        assert await get_chat(balancer) == "a"
    assert health.services == ["archive"]
    assert ("token", "secret") in health.metadata


async def test_a_lost_watch_is_restarted_and_the_last_health_holds_meanwhile(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    health = HealthOf()
    async with open_balancer([await serve(nursery, health)]) as balancer:
        assert await get_chat(balancer) == "a"
        health.end_watches(RpcError(Status.INTERNAL, "broken"))
        await trio.sleep(150)
        assert 15 < len(health.services) < 75  # repeatedly, but not at once
        assert await get_chat(balancer) == "a"
        health.failing = None
        health.set_state(NOT_SERVING)
        await trio.sleep(30)
        with pytest.raises(RpcError, match="NOT_SERVING"):
            await get_chat(balancer)


async def test_a_call_reports_why_the_watch_failed(nursery: trio.Nursery) -> None:
    health = HealthOf()
    health.failing = RpcError(Status.PERMISSION_DENIED, "no")
    async with open_balancer([await serve(nursery, health)]) as balancer:
        with pytest.raises(RpcError, match="its health is not known: PERMISSION_DENIED: no"):
            await get_chat(balancer)


@pytest.mark.parametrize("error", [RpcError(Status.UNAUTHENTICATED, "no token"), KeyError("token")])
async def test_a_watch_that_can_not_be_prepared_fails_alone(error: Exception, nursery: trio.Nursery) -> None:
    def prepare(call: OutgoingCall) -> OutgoingCall:
        raise error

    async with open_balancer([await serve(nursery, HealthOf())], prepare=[prepare]) as balancer:
        with pytest.raises(RpcError, match="its health is not known"):
            await get_chat(balancer)


async def test_grpcios_health_service_is_understood(nursery: trio.Nursery) -> None:
    program = [sys.executable, str(Path(__file__).with_name("grpcio_health_server.py"))]
    run = partial(trio.run_process, program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process: trio.Process = await nursery.start(run)
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(await process.stdout.receive_some())
    async with open_balancer([f"127.0.0.1:{port}"], health_service="archive") as balancer:
        await eventually(lambda: balancer.statistics().connections == 1)
        for state, count in (("SERVING", 1), ("NOT_SERVING", 0), ("SERVING", 1)):
            await process.stdin.send_all(f"archive {state}\n".encode())
            await eventually(ready(balancer, count))
    await process.stdin.aclose()
    assert await process.wait() == 0
