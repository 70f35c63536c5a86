"""gRPC's health service reports the health of the process."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from shared.contract.errors import Unavailable
from shared.rpc import ClientStream, RpcError, Servicer, Status, call_unary, open_stream
from shared.rpc.server.health import HealthService
from shared.rpc.server.standard_services import standard_services
from shared.rpc.standard.health_grpc import HealthStub
from shared.rpc.standard.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest
from shared.telemetry.health import WATCH_INTERVAL, Health
from tests.shared.rpc.conftest import make_services, open_client

SESSIONS = "rookery.v1.SessionService"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


@pytest.fixture
def services(health: Health) -> list[Servicer]:
    return standard_services(make_services(), health)


class Watcher:
    """A fake stream of a Watch that records the sent states."""

    def __init__(self, service: str) -> None:
        self._request: HealthCheckRequest | None = HealthCheckRequest(service=service)
        self.seen: list[int] = []

    async def receive(self) -> HealthCheckRequest | None:
        request, self._request = self._request, None
        return request

    async def send(self, response: HealthCheckResponse) -> None:
        self.seen.append(response.status)


def watch(service: HealthService, name: str, nursery: trio.Nursery) -> list[int]:
    watcher: Any = Watcher(name)
    nursery.start_soon(service.Watch, watcher)
    seen: list[int] = watcher.seen
    return seen


async def next_status(stream: ClientStream[Any, Any]) -> int | None:
    """Return the next state of a watch; None at its end."""
    response = await stream.receive()
    return None if response is None else response.status


@pytest.mark.parametrize("name", ["", SESSIONS, "rookery.v1.ArchiveService"])
async def test_check_reports_whether_the_process_is_ready(services: list[Servicer], health: Health, name: str) -> None:
    async with open_client(services) as channel:
        stub = HealthStub(channel)
        assert (await call_unary(stub.Check, HealthCheckRequest(service=name), timeout=30)).status == SERVING
        health.mark_draining()
        assert (await call_unary(stub.Check, HealthCheckRequest(service=name), timeout=30)).status == NOT_SERVING


async def test_check_of_a_name_that_is_not_served_is_not_found(services: list[Servicer]) -> None:
    async with open_client(services) as channel:
        with pytest.raises(RpcError) as caught:
            await call_unary(HealthStub(channel).Check, HealthCheckRequest(service="rookery.v1.Nothing"), timeout=30)
    assert caught.value.status is Status.NOT_FOUND


async def test_list_names_the_process_and_each_service(services: list[Servicer]) -> None:
    async with open_client(services) as channel:
        listed = await call_unary(HealthStub(channel).List, HealthListRequest(), timeout=30)
    expected = dict.fromkeys(["", SESSIONS, "rookery.v1.ArchiveService"], SERVING)
    assert {name: response.status for name, response in listed.statuses.items()} == expected


async def test_watch_sends_the_state_at_once_and_each_time_it_turns(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    health, away = Health(), True

    async def check() -> None:
        if away:
            raise Unavailable("the store is away")

    health.add("store", "the store answers", check)
    health.mark_started()
    service = HealthService(health, [SESSIONS])
    watchers = [watch(service, name, nursery) for name in ("", SESSIONS)]
    await wait_all_tasks_blocked()
    assert watchers == [[NOT_SERVING]] * 2
    away = False
    await trio.sleep(2 * WATCH_INTERVAL)
    assert watchers == [[NOT_SERVING, SERVING]] * 2


async def test_watch_of_an_unknown_service_reports_that_and_stays_open(nursery: trio.Nursery, health: Health) -> None:
    seen = watch(HealthService(health, [SESSIONS]), "rookery.v1.Nothing", nursery)
    await wait_all_tasks_blocked()
    health.mark_draining()
    await wait_all_tasks_blocked()
    assert seen == [HealthCheckResponse.SERVICE_UNKNOWN]


async def test_a_watch_reports_the_drain_before_it_ends(services: list[Servicer], health: Health) -> None:
    async with open_client(services) as channel, open_stream(HealthStub(channel).Watch, timeout=30) as stream:
        await stream.send(HealthCheckRequest())
        await stream.end()
        assert await next_status(stream) == SERVING
        health.mark_draining()
        assert await next_status(stream) == NOT_SERVING


async def test_watch_needs_a_request(services: list[Servicer]) -> None:
    async with open_client(services) as channel, open_stream(HealthStub(channel).Watch, timeout=30) as stream:
        await stream.end()
        with pytest.raises(RpcError) as caught:
            await stream.receive()
    assert caught.value.status is Status.UNIMPLEMENTED
