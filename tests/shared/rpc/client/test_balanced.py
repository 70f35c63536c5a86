"""Calls over several servers rotate among the ready ones, and succeed while one of them is ready."""

import socket
from typing import Any

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from trio.testing import MockClock

from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from shared.rpc import Limits, RpcError, ServerStream, Status, open_balancer, open_channel, stream_handler
from shared.rpc.client.balanced import MIN_REFRESH_PAUSE, REFRESH_INTERVAL
from shared.rpc.server.server import Server
from shared.rpc.standard.health_grpc import HealthServicer
from shared.rpc.standard.health_pb2 import HealthCheckRequest, HealthCheckResponse
from tests.shared.rpc.calling import Archive, get_chat, named
from tests.shared.rpc.conftest import RunningServer, Serve, eventually, ready
from tests.shared.rpc.servers import serve_services, serve_streams


def addresses(*servers: RunningServer) -> list[str]:
    return [f"127.0.0.1:{server.port}" for server in servers]


async def test_calls_go_to_each_in_turn(serve: Serve) -> None:
    servers = [await serve(get_chat=named(name)) for name in "abc"]
    async with open_balancer(addresses(*servers)) as balancer:
        await eventually(ready(balancer, 3))
        assert sorted([await get_chat(balancer) for _ in range(3)]) == [*"abc"]
        first, second, third, fourth = [await get_chat(balancer) for _ in range(4)]
        assert {first, second, third} == {*"abc"}
        assert fourth == first
        assert balancer.statistics().servers == 3


async def test_unreachable_servers_are_skipped_and_found_when_they_are_back(serve: Serve) -> None:
    first, second = await serve(get_chat=named("a")), await serve(get_chat=named("b"))
    async with open_balancer(addresses(first, second)) as balancer:
        await first.stop()
        assert {await get_chat(balancer, attempts=2) for _ in range(4)} == {"b"}
        await serve(get_chat=named("a"), port=first.port)
        await eventually(ready(balancer, 2))
        assert {await get_chat(balancer) for _ in range(2)} == {"a", "b"}


async def test_without_any_server_a_call_is_unavailable_at_once(serve: Serve) -> None:
    servers = [await serve(), await serve()]
    async with open_balancer(addresses(*servers)) as balancer:
        for server in servers:
            await server.stop()
        with pytest.raises(RpcError, match="none of 2 servers is available") as failure:
            await get_chat(balancer)
        assert failure.value.status is Status.UNAVAILABLE
        assert failure.value.unprocessed


async def test_a_call_may_wait_for_a_server(serve: Serve, nursery: trio.Nursery) -> None:
    server, answers = await serve(), []
    await server.stop()

    async def call_when_ready() -> None:
        answers.append(await get_chat(balancer, wait_for_ready=True))

    async with open_balancer(addresses(server)) as balancer:
        with pytest.raises(RpcError):
            await get_chat(balancer)
        nursery.start_soon(call_when_ready)
        await eventually(lambda: balancer.statistics().calls_waiting == 1)
        await serve(get_chat=named("a"), port=server.port)
        await eventually(lambda: answers == ["a"])
        assert balancer.statistics().calls_waiting == 0


async def test_a_call_lost_with_its_server_is_retried_on_another(serve: Serve) -> None:
    async def dies(_: GetChatRequest) -> GetChatResponse:
        dying.scope.cancel()
        return await trio.sleep_forever()

    dying, other = await serve(get_chat=dies), await serve(get_chat=named("b"))
    async with open_balancer(addresses(dying, other)) as balancer:
        await eventually(ready(balancer, 2))
        assert [await get_chat(balancer, attempts=2) for _ in range(2)] == ["b", "b"]
        assert dying.scope.cancel_called


async def test_a_full_server_is_skipped(serve: Serve) -> None:
    under_way, go_on = [], trio.Event()

    async def full(_: GetChatRequest) -> GetChatResponse:
        under_way.append("")
        await go_on.wait()
        return GetChatResponse()

    servers = [await serve(get_chat=full, limits=Limits(max_streams=1)), await serve(get_chat=named("b"))]
    async with open_balancer(addresses(*servers), health_service=None) as balancer, trio.open_nursery() as nursery:
        await eventually(ready(balancer, 2))
        nursery.start_soon(get_chat, balancer)
        nursery.start_soon(get_chat, balancer)
        await eventually(lambda: len(under_way) == 1)
        assert [await get_chat(balancer) for _ in range(4)] == ["b"] * 4
        go_on.set()


async def test_a_server_that_ends_each_connection_soon_is_not_connected_to_all_the_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    accepted: list[str] = []

    async def leave(stream: trio.SocketStream) -> None:
        accepted.append("")
        http2 = H2Connection(H2Configuration(client_side=False))
        http2.initiate_connection()
        async with stream:
            await stream.send_all(http2.data_to_send())
            await trio.sleep(0.01)

    port = await serve_streams(nursery, leave)
    async with open_balancer([f"127.0.0.1:{port}"], health_service=None):
        await trio.sleep(20)
    assert 10 < len(accepted) < 85


async def test_a_call_goes_to_another_server_when_one_begins_to_drain_as_it_is_connected_to(
    serve: Serve, nursery: trio.Nursery
) -> None:
    draining, accepted = Server([Archive(named("a"))], Limits()), []
    await draining.drain()

    async def accept(stream: trio.SocketStream) -> None:
        accepted.append("")
        await draining.serve_connection(stream)

    refusing = f"127.0.0.1:{await serve_streams(nursery, accept)}"
    async with open_balancer([refusing, *addresses(await serve(get_chat=named("b")))]) as balancer:
        assert [await get_chat(balancer) for _ in range(4)] == ["b"] * 4
        await eventually(lambda: len(accepted) > 1)
        assert balancer.statistics().retries == 0


# ---- names


class Names(trio.abc.HostnameResolver):
    """A fake resolver: each name resolves to ports of 127.0.0.1, negative ones to ports of ::1."""

    def __init__(self, **names: list[int]) -> None:
        self.names = names
        self.requests = 0

    async def getaddrinfo(
        self, host: bytes | None, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        await trio.lowlevel.checkpoint()
        self.requests += 1
        ports = self.names.get((host or b"").decode())
        if ports is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        stream = socket.SOCK_STREAM
        return [
            (socket.AF_INET, stream, 0, "", ("127.0.0.1", port))
            if port > 0
            else (socket.AF_INET6, stream, 0, "", ("::1", -port, 0, 0))
            for port in ports
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.fixture
async def names() -> Names:
    names = Names()
    trio.socket.set_custom_hostname_resolver(names)
    return names


async def test_a_name_that_gets_and_loses_servers_is_followed(
    serve: Serve, names: Names, autojump_clock: MockClock
) -> None:
    first, second = await serve(get_chat=named("a")), await serve(get_chat=named("b"))
    names.names["archives"] = [first.port]
    async with open_balancer(["archives:8083"]) as balancer:
        assert [await get_chat(balancer) for _ in range(2)] == ["a", "a"]
        names.names["archives"] = [first.port, second.port]
        await trio.sleep(REFRESH_INTERVAL + 1)
        assert {await get_chat(balancer) for _ in range(2)} == {"a", "b"}
        names.names["archives"] = [second.port]
        await trio.sleep(REFRESH_INTERVAL + 1)
        assert {await get_chat(balancer) for _ in range(2)} == {"b"}
        assert balancer.statistics().connections == 1  # the connection to the removed server is closed


async def test_a_name_is_resolved_again_soon_when_its_servers_are_lost(
    serve: Serve, names: Names, autojump_clock: MockClock
) -> None:
    lost, found = [await serve(get_chat=named("a")) for _ in range(2)], await serve(get_chat=named("b"))
    names.names["archives"] = [server.port for server in lost]
    async with open_balancer(["archives:8083"]) as balancer:
        assert await get_chat(balancer) == "a"
        names.names["archives"] = [found.port]
        for server in lost:
            await server.stop()
        began, requests = trio.current_time(), names.requests
        assert await get_chat(balancer, wait_for_ready=True) == "b"
        assert trio.current_time() - began <= MIN_REFRESH_PAUSE
        await trio.sleep(REFRESH_INTERVAL * 10)
        assert names.requests - requests <= 15  # one per interval, and a few more


class Draining(HealthServicer):
    """A health service that reports SERVING until `drains` is set."""

    def __init__(self) -> None:
        self.drains = trio.Event()

    @stream_handler
    async def Watch(self, stream: ServerStream[HealthCheckRequest, HealthCheckResponse]) -> None:
        await stream.send(HealthCheckResponse(status=HealthCheckResponse.SERVING))
        await self.drains.wait()
        await stream.send(HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING))
        await trio.sleep_forever()


async def test_a_name_is_resolved_again_soon_when_its_server_stops_serving(
    serve: Serve, names: Names, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    draining, found = Draining(), await serve(get_chat=named("b"))
    names.names["archives"] = [await serve_services(nursery, Archive(named("a")), draining)]
    async with open_balancer(["archives:8083"]) as balancer:
        assert await get_chat(balancer) == "a"
        names.names["archives"] = [found.port]
        draining.drains.set()
        began = trio.current_time()
        while await get_chat(balancer, wait_for_ready=True) == "a":
            await trio.sleep(0.01)
        assert trio.current_time() - began <= MIN_REFRESH_PAUSE + 0.5


async def test_a_name_that_is_not_found_is_unavailable_until_it_is(serve: Serve, names: Names) -> None:
    async with open_balancer(["archives:8083"]) as balancer:
        with pytest.raises(RpcError, match="archives is not found: Name or service not known") as failure:
            await get_chat(balancer)
        assert failure.value.status is Status.UNAVAILABLE
        names.names["archives"] = [(await serve(get_chat=named("a"))).port]
        assert await get_chat(balancer, wait_for_ready=True) == "a"


@pytest.mark.parametrize("host", [".", "a..b", "x" * 64 + ".test", "\0"])
async def test_an_invalid_name_is_unavailable(host: str) -> None:
    async with open_balancer([f"{host}:1"]) as balancer, open_channel(host, 1) as channel:
        for several_or_one in (balancer, channel):
            with pytest.raises(RpcError) as failure:
                await get_chat(several_or_one)
            assert failure.value.status is Status.UNAVAILABLE


async def test_a_name_that_is_no_longer_found_keeps_its_servers(
    serve: Serve, names: Names, autojump_clock: MockClock
) -> None:
    names.names["archives"] = [(await serve(get_chat=named("a"))).port]
    async with open_balancer(["archives:8083"]) as balancer:
        assert await get_chat(balancer) == "a"
        del names.names["archives"]
        await trio.sleep(REFRESH_INTERVAL * 3)
        assert await get_chat(balancer) == "a"


async def test_an_address_of_each_kind_is_one_server(serve: Serve, names: Names) -> None:
    server = await serve(get_chat=named("a"))
    names.names["archives"] = [-server.port, server.port]  # without a listener at ::1
    async with open_balancer([f"archives:{server.port}"]) as balancer:
        assert await get_chat(balancer) == "a"
        assert balancer.statistics().servers == 1


async def test_one_of_several_addresses_may_refuse_connections(serve: Serve, names: Names) -> None:
    servers = [await serve(get_chat=named(name)) for name in "ab"]
    names.names["archives"] = [-servers[0].port, *(server.port for server in servers)]
    async with open_balancer(["archives:8083"]) as balancer:
        await eventually(ready(balancer, 2))
        assert {await get_chat(balancer) for _ in range(4)} == {"a", "b"}
        assert balancer.statistics().servers == 3


async def test_calls_under_way_finish_at_a_server_that_has_lost_its_name(
    serve: Serve, names: Names, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    entered, go_on = trio.Event(), trio.Event()
    answers: list[str] = []

    async def slow(request: GetChatRequest) -> GetChatResponse:
        entered.set()
        await go_on.wait()
        return await named("a")(request)

    async def call_slow() -> None:
        answers.append(await get_chat(balancer, timeout=10_000))

    first, second = await serve(get_chat=slow), await serve(get_chat=named("b"))
    names.names["archives"] = [first.port]
    async with open_balancer(["archives:8083"]) as balancer:
        nursery.start_soon(call_slow)
        await entered.wait()
        names.names["archives"] = [second.port]
        await trio.sleep(REFRESH_INTERVAL + 1)
        assert await get_chat(balancer) == "b"
        go_on.set()
        await eventually(lambda: answers == ["a"])
