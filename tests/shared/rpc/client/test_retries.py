"""Retries: which failed calls are repeated, when, and how often at most."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from rookery.v1.session_grpc import SessionServiceStub
from shared.rpc import RpcError, Status, open_balancer, open_channel, open_stream
from shared.rpc.client.backoff import Backoff
from shared.rpc.client.retries import RETRYABLE, THROTTLE_TOKENS, Retries, RetryThrottle
from shared.rpc.limits import DEFAULT_LIMITS
from tests.shared.rpc.calling import PATIENCE, echo_chat, failure_of, get_chat, named
from tests.shared.rpc.conftest import Serve, eventually, ready
from tests.shared.rpc.servers import Proxy, RawServer, answer, refuse

AWAY = RpcError(Status.UNAVAILABLE, "away")


class Failing:
    """A GetChat that fails `times` times before it responds."""

    def __init__(self, times: int, error: RpcError = AWAY) -> None:
        self.calls = 0
        self._times = times
        self._error = error

    async def __call__(self, request: GetChatRequest) -> GetChatResponse:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return await echo_chat(request)


# ---- the rules, without I/O


@given(st.integers(1, 20), st.floats(0.001, 1), st.floats(1, 100))
def test_each_pause_is_within_twice_the_bound_of_the_one_before(count: int, first: float, longest: float) -> None:
    backoff = Backoff(first, longest)
    for number in range(count):
        assert 0 <= backoff.next() <= min(first * 2**number, longest)
    backoff.reset()
    assert backoff.next() <= first


def test_pauses_are_spread_over_all_of_their_time() -> None:
    pauses = [Backoff(1, 1).next() for _ in range(1_000)]
    assert min(pauses) < 0.1
    assert max(pauses) > 0.9


@given(st.lists(st.booleans(), max_size=500))
def test_retries_are_a_tenth_of_the_successes_and_half_the_bucket_at_most(outcomes: list[bool]) -> None:
    throttle, retries = RetryThrottle(), 0
    for succeeds in outcomes:
        if succeeds:
            throttle.succeeded()
        else:
            throttle.failed()
            retries += throttle.allows
    assert retries <= THROTTLE_TOKENS / 2 + sum(outcomes) / 10


def test_a_throttle_that_has_cut_off_retries_opens_again_when_calls_succeed() -> None:
    throttle = RetryThrottle(tokens=10)
    for _ in range(50):
        throttle.failed()
    assert not throttle.allows
    for _ in range(51):
        throttle.succeeded()
    assert throttle.allows


def test_a_server_may_set_or_forbid_the_pause_before_a_retry() -> None:
    in_7_5_s, never = (RpcError(Status.UNAVAILABLE, "", retry_after=after) for after in (7.5, math.inf))
    retries = Retries(10, RETRYABLE, RetryThrottle())
    for _ in range(4):
        assert (retries.pause_after(AWAY, cut_short=False) or 0) <= 0.4
    assert retries.pause_after(in_7_5_s, cut_short=False) == 7.5
    assert (retries.pause_after(AWAY, cut_short=False) or 0) <= 0.05  # from the start again
    assert retries.pause_after(never, cut_short=False) is None


def test_only_an_attempt_that_was_cut_short_is_retried_after_its_deadline() -> None:
    late = RpcError(Status.DEADLINE_EXCEEDED, "")
    retries = Retries(3, RETRYABLE, RetryThrottle())
    assert retries.pause_after(late, cut_short=False) is None
    assert retries.pause_after(late, cut_short=True) is not None


# ---- calls


async def test_a_call_is_retried_until_it_succeeds(serve: Serve) -> None:
    failing = Failing(2)
    async with open_channel("127.0.0.1", (await serve(get_chat=failing)).port) as channel:
        assert await get_chat(channel, attempts=3) == "d-1-2"
        statistics = channel.statistics()
    assert failing.calls == 3
    assert statistics.retries == 2
    assert statistics.calls_ended == {Status.UNAVAILABLE: 2, Status.OK: 1}


@pytest.mark.parametrize(
    ("status", "options", "calls"),
    [
        (Status.UNAVAILABLE, {}, 1),
        (Status.UNAVAILABLE, {"attempts": 2}, 2),
        (Status.UNAVAILABLE, {"attempts": 3, "retry_on": [Status.ABORTED]}, 1),
        (Status.ABORTED, {"attempts": 3}, 1),
        (Status.ABORTED, {"attempts": 3, "retry_on": [Status.ABORTED]}, 3),
    ],
)
async def test_a_call_is_not_retried_beyond_its_attempts_or_statuses(
    status: Status, options: Any, calls: int, serve: Serve
) -> None:
    failing = Failing(10, RpcError(status, "away"))
    async with open_channel("127.0.0.1", (await serve(get_chat=failing)).port) as channel:
        assert (await failure_of(channel, **options)).message == "away"
    assert failing.calls == calls


@pytest.mark.parametrize(("retry_after", "read"), [(0.0, 0.0), (0.0301, 0.031), (math.inf, math.inf), (3600.0, 3600.0)])
async def test_a_handlers_pause_before_a_retry_reaches_the_caller(
    retry_after: float, read: float, serve: Serve
) -> None:
    failing = Failing(9, RpcError(Status.UNAVAILABLE, "", retry_after=retry_after))
    async with open_channel("127.0.0.1", (await serve(get_chat=failing)).port) as channel:
        assert (await failure_of(channel)).retry_after == read


@pytest.mark.parametrize("pushback", ["-1", "", "soon", "1.5", "99999999999"])
async def test_an_invalid_pause_means_no_retry(pushback: str, nursery: trio.Nursery) -> None:
    server = RawServer(lambda http2, stream_id: refuse(http2, stream_id, 14, ("grpc-retry-pushback-ms", pushback)))
    await nursery.start(server.run)
    async with open_channel("127.0.0.1", server.port) as channel:
        assert (await failure_of(channel, attempts=3)).retry_after == math.inf
    assert server.calls == 1


async def test_a_pause_that_the_deadline_cuts_is_not_waited_for(serve: Serve) -> None:
    failing = Failing(9, RpcError(Status.UNAVAILABLE, "", retry_after=PATIENCE + 1))
    async with open_channel("127.0.0.1", (await serve(get_chat=failing)).port) as channel:
        assert (await failure_of(channel, attempts=3)).status is Status.UNAVAILABLE
    assert failing.calls == 1


async def test_one_deadline_covers_all_attempts_and_each_sends_the_rest(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = RawServer(lambda http2, stream_id: refuse(http2, stream_id, 14, ("grpc-retry-pushback-ms", "20")))
    await nursery.start(server.run)
    async with open_channel("127.0.0.1", server.port) as channel:
        began = trio.current_time()
        await failure_of(channel, timeout=0.19, attempts=1_000)
        assert trio.current_time() - began == pytest.approx(0.18)  # with another pause there would be no time left
    timeouts = [int(headers["grpc-timeout"].removesuffix("u")) for headers in server.headers]
    assert timeouts == pytest.approx(range(190_000, 0, -20_000), abs=2)


async def test_an_overload_is_not_multiplied(serve: Serve) -> None:
    failing = Failing(10_000)
    async with open_channel("127.0.0.1", (await serve(get_chat=failing)).port) as channel:
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(partial(failure_of, channel, attempts=5))
        retries = channel.statistics().retries
    assert failing.calls == 200 + retries
    assert retries <= THROTTLE_TOKENS / 2


def reset(http2: H2Connection, stream_id: int) -> None:
    http2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)


def leave(http2: H2Connection, stream_id: int) -> None:
    """Send GOAWAY with a last stream below the call's."""
    http2.close_connection(last_stream_id=0)


@pytest.mark.parametrize("refuse_first", [reset, leave])
async def test_an_unprocessed_call_is_retried_at_once(
    refuse_first: Callable[[H2Connection, int], None], nursery: trio.Nursery
) -> None:
    server = RawServer(lambda *call: refuse_first(*call) if server.calls == 1 else answer(*call))
    await nursery.start(server.run)
    async with open_channel("127.0.0.1", server.port) as channel:
        assert await get_chat(channel) == ""
        assert channel.statistics().retries == 1
    assert server.calls == 2


async def test_a_server_that_refuses_all_calls_is_called_twice(nursery: trio.Nursery) -> None:
    server = RawServer(reset)
    await nursery.start(server.run)
    async with open_channel("127.0.0.1", server.port) as channel:
        error = await failure_of(channel)
    assert (error.status, error.unprocessed, server.calls) == (Status.UNAVAILABLE, True, 2)


async def test_a_stream_is_not_retried_but_reports_that_it_is_unprocessed(nursery: trio.Nursery) -> None:
    server = RawServer(reset)
    await nursery.start(server.run)
    async with (
        open_channel("127.0.0.1", server.port) as channel,
        open_stream(SessionServiceStub(channel).Connect, timeout=PATIENCE) as stream,
    ):
        await stream.end()
        with pytest.raises(RpcError) as failure:
            await stream.receive()
    assert failure.value.unprocessed
    assert server.calls == 1


# ---- servers that hang


async def test_a_call_to_a_server_that_hangs_is_retried_on_another_which_is_then_preferred(
    serve: Serve, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hanging = Proxy((await serve(get_chat=named("a"))).port)
    await nursery.start(hanging.run)
    other = await serve(get_chat=named("b"))
    async with open_balancer([f"127.0.0.1:{hanging.port}", f"127.0.0.1:{other.port}"]) as balancer:
        await eventually(ready(balancer, 2))
        hanging.freeze()
        answers = [await get_chat(balancer, attempts=2, attempt_timeout=0.1) for _ in range(10)]
        assert answers == ["b"] * 10
        assert balancer.statistics().retries == 1  # only the first had to find out
        assert balancer.statistics().servers_ready == 1
        hanging.thaw()
        await eventually(ready(balancer, 2))
        assert {await get_chat(balancer) for _ in range(4)} == {"a", "b"}
    assert hanging.connections == 1


async def test_a_server_that_hangs_for_long_is_disconnected_and_found_when_it_resumes(
    serve: Serve, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hanging = Proxy((await serve(get_chat=named("a"))).port)
    await nursery.start(hanging.run)
    async with open_balancer([f"127.0.0.1:{hanging.port}"]) as balancer:
        assert await get_chat(balancer) == "a"
        hanging.freeze()
        assert (await failure_of(balancer, timeout=1)).status is Status.DEADLINE_EXCEEDED
        await trio.sleep(1.5 * DEFAULT_LIMITS.keepalive_timeout + DEFAULT_LIMITS.connect_timeout)
        assert "it took over 3.0 s" in (await failure_of(balancer)).message
        hanging.thaw()
        assert await get_chat(balancer, wait_for_ready=True) == "a"


async def test_the_last_attempt_has_all_the_time_that_is_left(serve: Serve, autojump_clock: MockClock) -> None:
    calls: list[str] = []

    async def get_slowly(request: GetChatRequest) -> GetChatResponse:
        calls.append("")
        await trio.sleep(0.3)
        return GetChatResponse()

    ports = [(await serve(get_chat=get_slowly)).port for _ in range(2)]
    async with open_balancer([f"127.0.0.1:{port}" for port in ports]) as balancer:
        await eventually(ready(balancer, 2))
        assert await get_chat(balancer, attempts=3, attempt_timeout=0.05) == ""
    assert len(calls) == 3


async def test_an_attempt_at_the_only_ready_server_has_all_the_time(serve: Serve, autojump_clock: MockClock) -> None:
    calls: list[str] = []

    async def get_slowly(request: GetChatRequest) -> GetChatResponse:
        calls.append("")
        await trio.sleep(0.3)
        return GetChatResponse()

    server = await serve(get_chat=get_slowly)
    async with open_balancer([f"127.0.0.1:{server.port}"]) as balancer:
        await eventually(ready(balancer, 1))
        assert await get_chat(balancer, attempts=3, attempt_timeout=0.05, timeout=0.4) == ""
    assert len(calls) == 1


async def test_a_slow_server_keeps_its_calls(serve: Serve, autojump_clock: MockClock) -> None:
    async def hang(request: GetChatRequest) -> GetChatResponse:
        return await trio.sleep_forever()

    async with open_balancer([f"127.0.0.1:{(await serve(get_chat=hang)).port}"]) as balancer:
        error = await failure_of(balancer, timeout=0.1)
        assert error.status is Status.DEADLINE_EXCEEDED
        await eventually(ready(balancer, 1))
        assert balancer.statistics().connections == 1
