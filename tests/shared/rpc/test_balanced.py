"""Calls over several servers: spread over all, and answered while one of them is there."""

from typing import TYPE_CHECKING

import pytest
import trio

from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from shared.rpc import Balancer, RpcError, Status, call_unary, open_balancer

if TYPE_CHECKING:
    from tests.shared.rpc.conftest import GetChat, RunningServer, Serve

PATIENCE = 30.0
"""Seconds that a call may take: only a test that has failed takes that long."""


async def ask(balancer: Balancer, attempts: int = 1) -> str:
    stub, request = ArchiveServiceStub(balancer), GetChatRequest(chat_id="d-1-2")
    response = await call_unary(stub.GetChat, request, timeout=PATIENCE, attempts=attempts)
    return str(response.chat.chat_id)


def named(name: str) -> "GetChat":
    """An archive that answers with its own name."""

    async def get_chat(_: GetChatRequest) -> GetChatResponse:
        response = GetChatResponse()
        response.chat.chat_id = name
        return response

    return get_chat


def addresses(*servers: "RunningServer") -> list[str]:
    return [f"127.0.0.1:{server.port}" for server in servers]


async def test_calls_go_to_each_in_turn(serve: "Serve") -> None:
    servers = [await serve(get_chat=named(name)) for name in "abc"]
    async with open_balancer(addresses(*servers)) as balancer:
        assert [await ask(balancer) for _ in range(6)] == [*"abcabc"]


async def test_those_that_are_away_are_passed_over_and_found_when_they_are_back(serve: "Serve") -> None:
    first, second = await serve(get_chat=named("a")), await serve(get_chat=named("b"))
    async with open_balancer(addresses(first, second)) as balancer:
        await first.stop()
        assert {await ask(balancer) for _ in range(4)} == {"b"}
        await serve(get_chat=named("a"), port=first.port)
        with trio.fail_after(PATIENCE):
            while await ask(balancer) != "a":
                await trio.sleep(0.01)


async def test_without_any_server_a_call_is_unavailable(serve: "Serve") -> None:
    servers = [await serve(), await serve()]
    async with open_balancer(addresses(*servers)) as balancer:
        for server in servers:
            await server.stop()
        with pytest.raises(RpcError, match="any of 2 servers") as failure:
            await ask(balancer)
        assert failure.value.status is Status.UNAVAILABLE


async def test_a_query_that_a_server_took_to_its_end_is_asked_of_another(serve: "Serve") -> None:
    async def dies(_: GetChatRequest) -> GetChatResponse:
        dying.scope.cancel()
        return await trio.sleep_forever()

    dying, other = await serve(get_chat=dies), await serve(get_chat=named("b"))
    async with open_balancer(addresses(dying, other)) as balancer:
        assert await ask(balancer, attempts=2) == "b"


async def test_other_refusals_are_the_callers(serve: "Serve") -> None:
    asked: list[str] = []

    async def refuses(_: GetChatRequest) -> GetChatResponse:
        asked.append("")
        raise RpcError(Status.NOT_FOUND, "no such chat")

    servers = [await serve(get_chat=refuses) for _ in range(2)]
    async with open_balancer(addresses(*servers)) as balancer:
        with pytest.raises(RpcError, match="no such chat"):
            await ask(balancer, attempts=3)
    assert len(asked) == 1
