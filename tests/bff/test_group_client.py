"""The client of GroupService: which gateway gets a change, what is repeated and for how long, and its channels."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bff.group_client import CALL_SECONDS, RETRY_SECONDS, UNAVAILABLE, WAIT_SECONDS, GroupClient, open_group_client
from rookery.v1.group_service_grpc import GroupServiceServicer
from rookery.v1.group_service_pb2 import ChangeGroupRequest, ChangeGroupResponse
from rookery.v1.session_pb2 import Event
from shared.contract.chats import home_partition
from shared.contract.errors import Code, Refusal
from shared.coordination.ownership import GatewayAddress, LocalDirectory
from shared.rpc import serve_rpc
from shared.rpc.refusals import INTERNAL
from shared.telemetry.metrics.catalogue import RPC_CLIENT_SERVERS

PARTITIONS = 4

REQUEST = ChangeGroupRequest(chat_id="g-7", client_change_id="x")

HOME = home_partition("g-7", PARTITIONS)

DONE = ChangeGroupResponse(event=Event(event_id=1))

NOT_OWNED = Refusal(Code.UNAVAILABLE, "This gateway does not own the chat.")

Answer = ChangeGroupResponse | Refusal | Exception


class Gateway(GroupServiceServicer):
    """A gateway with an address. Answers each change with the next of `answers`, and the last one from then on."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[ChangeGroupRequest, float]] = []
        self.tokens: list[Any] = []
        self.connections = 0
        self.address: GatewayAddress

    async def ChangeGroup(self, request: ChangeGroupRequest) -> Any:
        self.calls.append((request, trio.current_time()))
        await trio.lowlevel.checkpoint()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def note_token(self, stream: Any, handler: Callable[[Any], Awaitable[None]]) -> None:
        self.tokens += [value for name, value in stream.metadata if name == "authorization"]
        await handler(stream)


Open = Callable[..., Awaitable[Gateway]]


@pytest.fixture
def autojump_clock() -> MockClock:
    """Jumps when no socket has data in flight either."""
    return MockClock(autojump_threshold=0.01)


@pytest.fixture
def directory() -> LocalDirectory:
    return LocalDirectory()


@pytest.fixture
async def client(directory: LocalDirectory) -> AsyncIterator[GroupClient]:
    async with open_group_client(directory, PARTITIONS, lambda address: None) as client:
        yield client


@pytest.fixture
def gateway(nursery: trio.Nursery) -> Open:
    async def open_gateway(*answers: Answer) -> Gateway:
        gateway = Gateway(*answers)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(partial(serve_rpc, [gateway], listeners, interceptors=[gateway.note_token]))
        port = listeners[0].socket.getsockname()[1]
        gateway.address = GatewayAddress(f"ws://gateway-{port}/session", "", f"127.0.0.1:{port}")
        return gateway

    return open_gateway


async def test_the_owner_gets_a_change_with_the_token_and_its_answer_is_returned(
    client: GroupClient, directory: LocalDirectory, gateway: Open
) -> None:
    refused = Refusal(Code.FORBIDDEN, "You may not rename the group.", "name")
    owner, other = await gateway(DONE, refused, ZeroDivisionError("swordfish")), await gateway(DONE)
    directory.publish(owner.address, [HOME], 1)
    directory.publish(other.address, set(range(PARTITIONS)) - {HOME}, 1)
    answers = [await client.change(REQUEST, "secret") for _ in range(3)]
    assert answers == [DONE, refused, Refusal(Code.INTERNAL, INTERNAL)]
    assert [request for request, _ in owner.calls] == [REQUEST] * 3
    assert owner.tokens == ["Bearer secret"] * 3
    assert other.calls == []


async def test_a_change_waits_for_an_owner(
    client: GroupClient, directory: LocalDirectory, gateway: Open, autojump_clock: MockClock
) -> None:
    former = GatewayAddress("ws://former/session", "former:8082")  # its release announces no internal address
    owner = await gateway(DONE)
    directory.publish(former, [HOME], 1)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def take_over() -> None:
            await trio.sleep(WAIT_SECONDS - 1)
            directory.publish(owner.address, [HOME], 2)

        assert await client.change(REQUEST, "secret") == DONE
    directory.publish(owner.address, [], 3)
    directory.publish(former, [], 3)
    began = trio.current_time()
    assert await client.change(REQUEST, "secret") == Refusal(Code.UNAVAILABLE, UNAVAILABLE)
    assert trio.current_time() - began == pytest.approx(WAIT_SECONDS, abs=0.1)


async def test_an_unavailable_gateway_gets_the_change_again_until_another_owns_the_chat(
    client: GroupClient, directory: LocalDirectory, gateway: Open, autojump_clock: MockClock
) -> None:
    former, owner = await gateway(NOT_OWNED), await gateway(NOT_OWNED, DONE)
    directory.publish(former.address, [HOME], 1)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def take_over() -> None:
            await trio.sleep(1.25 * RETRY_SECONDS)
            directory.publish(owner.address, [HOME], 2)

        began = trio.current_time()
        assert await client.change(REQUEST, "secret") == DONE
    times = [[(at - began) / RETRY_SECONDS for _, at in each.calls] for each in (former, owner)]
    assert times == [pytest.approx([0, 1], abs=0.1), pytest.approx([1.25, 2.25], abs=0.1)]
    owner.answers[:] = [NOT_OWNED]
    began = trio.current_time()
    assert await client.change(REQUEST, "secret") == NOT_OWNED
    assert trio.current_time() - began == pytest.approx(WAIT_SECONDS, abs=0.1)


async def test_a_gateway_that_is_gone_or_silent_is_not_waited_for_beyond_the_deadlines(
    client: GroupClient, directory: LocalDirectory, autojump_clock: MockClock
) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")  # accepts, and never answers
    port = listener.socket.getsockname()[1]
    directory.publish(GatewayAddress("ws://one/session", "", f"127.0.0.1:{port}"), [HOME], 1)
    for _ in range(2):
        with trio.fail_after(WAIT_SECONDS + CALL_SECONDS):
            assert await client.change(REQUEST, "secret") == Refusal(Code.UNAVAILABLE, UNAVAILABLE)
        await listener.aclose()


async def test_the_metrics_of_calls_to_archives_count_no_gateway(
    client: GroupClient, directory: LocalDirectory, gateway: Open
) -> None:
    owner = await gateway(DONE)
    directory.publish(owner.address, [HOME], 1)
    before = RPC_CLIENT_SERVERS.family().samples
    assert await client.change(REQUEST, "secret") == DONE
    assert RPC_CLIENT_SERVERS.family().samples == before


async def test_a_gateway_has_one_channel_which_closes_after_it_has_left_the_directory(
    client: GroupClient, directory: LocalDirectory, gateway: Open, autojump_clock: MockClock
) -> None:
    owner = await gateway(DONE)
    for round_number in (1, 2):
        directory.publish(owner.address, [HOME], round_number)
        async with trio.open_nursery() as callers:
            for _ in range(5):
                callers.start_soon(client.change, REQUEST, "secret")
        assert len(client._nursery.child_tasks) == 1
        directory.publish(owner.address, [], round_number)
        await trio.sleep(CALL_SECONDS + 1)
        assert not client._nursery.child_tasks
    assert len(owner.calls) == 10


async def test_a_change_that_is_cancelled_while_its_channel_opens_leaves_no_dead_channel(
    directory: LocalDirectory, gateway: Open, autojump_clock: MockClock
) -> None:
    owner = await gateway(DONE)
    directory.publish(owner.address, [HOME], 1)
    caller = trio.CancelScope()

    def cancel_caller(_: str) -> None:
        caller.cancel()

    async with open_group_client(directory, PARTITIONS, cancel_caller) as client:
        with caller:
            await client.change(REQUEST, "secret")
        assert caller.cancelled_caught
        assert await client.change(REQUEST, "secret") == DONE
