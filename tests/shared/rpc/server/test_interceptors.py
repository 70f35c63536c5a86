"""Interceptors: how calls are logged, authenticated and limited."""

import re
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
from google.rpc.error_details_pb2 import RetryInfo
from trio.testing import MockClock

from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from rookery.v1.session_grpc import SessionServiceStub
from shared.net.admission import ConnectionBudget
from shared.rpc import Metadata, RpcError, Status, call_unary, open_channel, open_stream
from shared.rpc.client.prepare import send_token
from shared.rpc.server.interceptors import (
    RETRY_AFTER,
    authenticate,
    bound_strangers,
    equals,
    limit_calls,
    log_calls,
)
from shared.rpc.server.methods import AnyServerStream, Handler
from shared.rpc.server.standard_services import STANDARD_SERVICES, standard_services
from shared.rpc.standard.health_grpc import HealthStub
from shared.rpc.standard.health_pb2 import HealthCheckRequest, HealthCheckResponse
from shared.rpc.standard.reflection_grpc import ServerReflectionStub
from shared.rpc.standard.reflection_pb2 import ServerReflectionRequest
from shared.telemetry.health import Health
from tests.shared.rpc.calling import PATIENCE, failing, failure_of, get_chat
from tests.shared.rpc.conftest import eventually, make_services, open_client
from tests.shared.rpc.servers import serve_services

TOKEN = "correct-horse-battery-staple"

Logged = list[MutableMapping[str, Any]]


@pytest.fixture
def logged() -> Any:
    with structlog.testing.capture_logs() as lines:
        yield lines


def ended(logged: Logged) -> Logged:
    """Return the log events of ended calls."""
    return [line for line in logged if line["event"] == "rpc_call_ended"]


class Waiting:
    """Handlers that wait for `go_on`. `inside` counts the waiting calls, `entered` all calls."""

    def __init__(self) -> None:
        self.inside = 0
        self.entered = 0
        self.go_on = trio.Event()

    async def get_chat(self, _: GetChatRequest) -> GetChatResponse:
        await self._wait()
        return GetChatResponse()

    async def connect(self, stream: AnyServerStream) -> None:
        await self._wait()

    async def _wait(self) -> None:
        self.inside += 1
        self.entered += 1
        try:
            await self.go_on.wait()
        finally:
            self.inside -= 1


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


# ---- log_calls


async def test_a_successful_call_is_logged_at_debug_level(logged: Logged) -> None:
    async with open_client(make_services(), log_calls) as channel:
        await get_chat(channel)
    [line] = ended(logged)
    assert (line["log_level"], line["status"]) == ("debug", "OK")
    assert line["method"] == "/rookery.v1.ArchiveService/GetChat"
    assert re.fullmatch(r"127\.0\.0\.1:\d+", line["peer"])
    assert line["milliseconds"] >= 0


@pytest.mark.parametrize(
    ("error", "level", "status"),
    [
        (RpcError(Status.UNAVAILABLE, "the store is away"), "warning", "UNAVAILABLE"),
        (RpcError(Status.DATA_LOSS, "it is gone"), "warning", "DATA_LOSS"),
        (ValueError("a bug"), "debug", "INTERNAL"),  # with its cause, it is an error in the log already
        (ExceptionGroup("", [ValueError("a bug"), RpcError(Status.NOT_FOUND, "no")]), "debug", "INTERNAL"),
        (RpcError(Status.NOT_FOUND, "there is none"), "debug", "NOT_FOUND"),
        (ExceptionGroup("", [RpcError(Status.INVALID_ARGUMENT, "no")]), "debug", "INVALID_ARGUMENT"),
    ],
)
async def test_only_faults_of_the_server_are_logged_as_warnings(
    logged: Logged, error: Exception, level: str, status: str
) -> None:
    async with open_client(make_services(get_chat=failing(error)), log_calls) as channel:
        failure = await failure_of(channel)
    [line] = ended(logged)
    assert (line["log_level"], line["status"]) == (level, status)
    assert failure.status.name == status


async def test_calls_of_a_stranger_that_fail_are_logged_at_debug_level(logged: Logged, nursery: trio.Nursery) -> None:
    """A stranger may make them at any rate."""
    failed = failing(RpcError(Status.UNAVAILABLE, "the store is away"))
    guard = [log_calls, authenticate(equals(TOKEN), optional_for=["rookery.v1.ArchiveService"])]
    admission = ConnectionBudget().add_listener()
    port = await serve_services(nursery, *make_services(get_chat=failed), admission=admission, interceptors=guard)
    for prepare in ([], [send_token(TOKEN)]):
        async with open_channel("127.0.0.1", port, prepare=prepare) as channel:
            await failure_of(channel)
    assert [(line["log_level"], line["status"]) for line in ended(logged)] == [
        ("debug", "UNAVAILABLE"),
        ("warning", "UNAVAILABLE"),
    ]


async def test_a_failed_call_of_a_client_that_has_signed_out_is_logged_as_a_warning(
    logged: Logged, nursery: trio.Nursery
) -> None:
    """The gateway's handlers end the authentication of the connection with the call."""

    async def sign_in_and_out(stream: AnyServerStream, handler: Handler) -> None:
        stream.authenticate()
        try:
            await handler(stream)
        finally:
            stream.end_authentication()

    failed = failing(RpcError(Status.UNAVAILABLE, "the store is away"))
    admission, guard = ConnectionBudget().add_listener(), [log_calls, sign_in_and_out]
    port = await serve_services(nursery, *make_services(get_chat=failed), admission=admission, interceptors=guard)
    async with open_channel("127.0.0.1", port) as channel:
        await failure_of(channel)
    assert [line["log_level"] for line in ended(logged)] == ["warning"]


async def test_a_call_that_exceeds_its_deadline_is_logged(
    waiting: Waiting, logged: Logged, autojump_clock: MockClock
) -> None:
    async with open_client(make_services(get_chat=waiting.get_chat), log_calls) as channel:
        await failure_of(channel, timeout=0.05)
        await eventually(lambda: bool(ended(logged)))
    [line] = ended(logged)
    # Whether the server's clock or the client's reset comes first is a matter of microseconds.
    assert (line["log_level"], line["status"]) in [("info", "DEADLINE_EXCEEDED"), ("debug", "CANCELLED")]


@pytest.mark.parametrize(("is_lost", "statuses"), [(False, ["CANCELLED"]), (True, ["UNAVAILABLE", "CANCELLED"])])
async def test_a_cancelled_call_or_a_lost_connection_is_not_logged_as_a_fault(
    waiting: Waiting, logged: Logged, is_lost: bool, statuses: list[str]
) -> None:
    async with open_client(make_services(connect=waiting.connect), log_calls) as channel:
        async with open_stream(SessionServiceStub(channel).Connect):
            await eventually(lambda: waiting.inside == 1)
            if is_lost:
                next(iter(channel.connections)).cancel()
        await eventually(lambda: bool(ended(logged)))
    [line] = ended(logged)
    assert line["log_level"] == "debug"
    assert line["status"] in statuses


async def test_no_log_event_contains_metadata(logged: Logged) -> None:
    services = make_services(get_chat=failing(ValueError("a bug")))
    async with open_client(services, log_calls, authenticate(equals(TOKEN)), prepare=[send_token(TOKEN)]) as channel:
        await failure_of(channel)
    assert ended(logged)
    assert TOKEN not in repr(logged)


# ---- authenticate


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer {TOKEN}", "Bearer another"])
async def test_each_valid_token_is_accepted(value: str) -> None:
    async with open_client(make_services(), authenticate(equals("another", TOKEN))) as channel:
        assert await get_chat(channel, metadata=[("authorization", value)]) == "d-1-2"


async def test_a_client_sends_its_token_with_each_call() -> None:
    async with open_client(make_services(), authenticate(equals(TOKEN)), prepare=[send_token(TOKEN)]) as channel:
        assert await get_chat(channel) == "d-1-2"


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "Bearer wrong")],
        [("authorization", f"Bearer {TOKEN}x")],
        [("authorization", f"Bearer {TOKEN[:-1]}")],
        [("authorization", TOKEN)],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", "Bearer")],
        [("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer wrong")],
        [("x-authorization", f"Bearer {TOKEN}")],
    ],
)
async def test_without_the_token_no_handler_runs(waiting: Waiting, metadata: Metadata) -> None:
    services = make_services(get_chat=waiting.get_chat, connect=waiting.connect)
    async with open_client(services, authenticate(equals(TOKEN))) as channel:
        assert (await failure_of(channel, metadata=metadata)).status is Status.UNAUTHENTICATED
        with pytest.raises(RpcError) as caught:
            async with open_stream(SessionServiceStub(channel).Connect, timeout=PATIENCE, metadata=metadata) as stream:
                await stream.receive()
        assert caught.value.status is Status.UNAUTHENTICATED
    assert waiting.entered == 0


async def test_probes_and_tools_need_no_token() -> None:
    health = Health()
    health.mark_started()
    own = make_services()
    guard = authenticate(equals(TOKEN), optional_for=STANDARD_SERVICES)
    async with open_client([*own, *standard_services(own, health)], guard) as channel:
        checked = await call_unary(HealthStub(channel).Check, HealthCheckRequest(), timeout=PATIENCE)
        assert checked.status == HealthCheckResponse.SERVING
        async with open_stream(ServerReflectionStub(channel).ServerReflectionInfo, timeout=PATIENCE) as stream:
            await stream.send(ServerReflectionRequest(list_services=""))
            assert await stream.receive() is not None
        assert (await failure_of(channel)).status is Status.UNAUTHENTICATED


def test_the_standard_services_have_the_listed_names() -> None:
    served = [servicer.service.name for servicer in standard_services(make_services(), Health())]
    assert served == list(STANDARD_SERVICES)


# ---- limit_calls


def hold(channel: Any, nursery: trio.Nursery) -> trio.CancelScope:
    """Start a call that waits until its scope, which is returned, is cancelled."""
    scope = trio.CancelScope()

    async def call() -> None:
        with scope:
            await get_chat(channel)

    nursery.start_soon(call)
    return scope


async def test_a_call_over_the_limit_is_refused_with_a_pause_to_retry_after(waiting: Waiting) -> None:
    services = make_services(get_chat=waiting.get_chat)
    async with open_client(services, limit_calls(total=2)) as channel, trio.open_nursery() as calls:
        for _ in range(2):
            hold(channel, calls)
        await eventually(lambda: waiting.inside == 2)
        error = await failure_of(channel)
        assert error.status is Status.RESOURCE_EXHAUSTED
        detail = error.detail(RetryInfo)
        assert detail is not None
        assert detail.retry_delay.ToMilliseconds() == RETRY_AFTER * 1000
        assert error.retry_after == RETRY_AFTER
        assert waiting.entered == 2
        waiting.go_on.set()
        await eventually(lambda: waiting.inside == 0)
        await get_chat(channel)


async def test_a_call_that_is_cancelled_or_fails_frees_its_slot(waiting: Waiting, nursery: trio.Nursery) -> None:
    async def get_chat(request: GetChatRequest) -> GetChatResponse:
        if request.user_id:
            raise RpcError(Status.NOT_FOUND, "there is none")
        return await waiting.get_chat(request)

    async with open_client(make_services(get_chat=get_chat), limit_calls(total=1)) as channel:
        for round_number in range(1, 4):
            scope = hold(channel, nursery)
            await eventually(lambda: waiting.inside == 1)
            scope.cancel()
            await eventually(lambda: waiting.inside == 0)
            assert waiting.entered == round_number
            with pytest.raises(RpcError, match="NOT_FOUND"):
                await call_unary(ArchiveServiceStub(channel).GetChat, GetChatRequest(user_id=1), timeout=PATIENCE)


# ---- bound_strangers


@asynccontextmanager
async def watching(channel: Any) -> AsyncIterator[Any]:
    """A watch of the server's health that has received its first response."""
    async with open_stream(HealthStub(channel).Watch, timeout=PATIENCE) as stream:
        await stream.send(HealthCheckRequest())
        assert await stream.receive() is not None
        yield stream


async def test_one_watch_too_many_ends_the_oldest_without_a_sign_in(nursery: trio.Nursery) -> None:
    health = Health()
    health.mark_started()
    own = make_services()
    guard = [authenticate(equals(TOKEN), optional_for=STANDARD_SERVICES), bound_strangers(most=2)]
    admission = ConnectionBudget().add_listener()
    services = [*own, *standard_services(own, health)]
    port = await serve_services(nursery, *services, admission=admission, interceptors=guard)
    async with (
        open_channel("127.0.0.1", port, prepare=[send_token(TOKEN)]) as known,
        open_channel("127.0.0.1", port) as stranger,
        AsyncExitStack() as stack,
    ):
        kept = [await stack.enter_async_context(watching(known)) for _ in range(3)]
        oldest = await stack.enter_async_context(watching(stranger))
        kept += [await stack.enter_async_context(watching(stranger)) for _ in range(2)]
        with pytest.raises(RpcError, match="call again") as caught:
            await oldest.receive()
        assert caught.value.status is Status.UNAVAILABLE
        assert [stream.outcome for stream in kept] == [None] * 5
