"""The client keeps its session live: it reconnects, resumes, and renews its token."""

import itertools
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from messaging.gateway.session import SIGN_IN_SECONDS
from rookery.client import Client, Connected, Disconnected, Gap, Message, Refused, SignedOut
from rookery.client.backoff import FIRST, LONGEST
from rookery.client.events import MAX_EVENTS
from rookery.client.reconnector import CHECK_SECONDS, LONGEST_WELCOME_DEADLINE, PONG_DEADLINE, WELCOME_DEADLINE
from rookery.v1 import session_pb2 as pb
from shared.contract.ids import wall_clock_ms
from tests.rookery.conftest import WAIT_FOR_ANOTHER_SECONDS

GOODBYE = pb.ServerFrame(goodbye=pb.Goodbye(code="unauthenticated", message="Expired."))


async def take(client: Client, count: int) -> list[object]:
    """Wait for the next events of the client."""
    events = client.events()
    return [await anext(events) for _ in range(count)]


async def test_a_message_sent_without_a_connection_is_sent_on_the_next(
    client: Client, connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    connection.end()
    await wait_all_tasks_blocked()
    assert not client.is_connected
    submission = client.submit(9, "hi")
    await (await gateway.welcome_next()).accept_next(100)
    assert (await submission.answer()).event_id == 100


async def test_events_come_once_and_in_order_over_a_reconnect(
    client: Client, connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    connection.message(11)
    connection.message(12)
    await wait_all_tasks_blocked()
    connection.end()
    second = await gateway.next_connection()
    authenticate = await second.welcome(replayed=1)
    assert authenticate.last_position == pb.Position(offset=12, epoch=1)
    second.message(12)
    second.message(13)
    second.reply(pb.ServerFrame(gap=pb.Gap(since_ms=5)))
    events = await take(client, 7)
    assert [event.message_id for event in events if isinstance(event, Message)] == [11, 12, 13]
    assert [type(event) for event in events if not isinstance(event, Message)] == [
        Connected, Disconnected, Connected, Gap,
    ]  # fmt: skip


async def test_the_gap_of_a_full_queue_has_the_server_s_time(
    client: Client, connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    connection.end()
    second = await gateway.next_connection()
    server_ms = wall_clock_ms() - 3_600_000
    await second.welcome(at_ms=server_ms)
    await wait_all_tasks_blocked()
    while client._queue.put(pb.Typing(), client._session.newest_ms):
        pass
    gap = next(event for event in await take(client, MAX_EVENTS + 1) if isinstance(event, Gap))
    assert abs(gap.at_ms - server_ms) < 600_000


async def test_a_long_replay_reaches_the_reader_without_a_gap(
    client: Client, connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    connection.end()
    second = await gateway.welcome_next(replayed=1_900)
    for message_id in range(1, 1_901):
        second.message(message_id)
    events = await take(client, 1_903)
    assert [event.message_id for event in events if isinstance(event, Message)] == list(range(1, 1_901))


async def test_a_reconnect_waits_as_long_as_the_gateway_asks_for(
    connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    begin = trio.current_time()
    connection.reply(pb.ServerFrame(reconnect=pb.Reconnect(after_ms=60_000)))
    await gateway.next_connection()
    assert 60 <= trio.current_time() - begin < 61


async def test_a_moved_client_connects_to_the_other_gateway_at_once(
    connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    connection.reply(pb.ServerFrame(moved=pb.Moved(grpc="other:2")))
    begin = trio.current_time()
    second = await gateway.next_connection()
    assert (second.endpoint, trio.current_time()) == ("other:2", begin)
    second.end()  # and after a failure there, the BFF is asked again
    assert (await gateway.next_connection()).endpoint == "gateway:1"


async def test_gateways_that_move_a_client_to_each_other_are_not_kept_busy(
    connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(10):
        while True:
            connection.reply(pb.ServerFrame(moved=pb.Moved(grpc="other:2")))
            connection = await gateway.next_connection()
    assert len(gateway.attempts) < 40


async def test_a_bff_without_a_gateway_is_retried_after_its_delay(
    connection: Any, bff: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    bff.answers["GET /v1/me/gateway"] = 503, {"code": "unavailable", "retry_after_ms": 4000}
    begin = trio.current_time()
    connection.end()
    await trio.sleep(20)
    bff.answers.clear()
    await gateway.next_connection()
    assert 3 <= bff.requests.count("GET /v1/me/gateway") <= 7
    assert trio.current_time() - begin < 25


async def test_a_gateway_that_is_down_is_tried_again_with_pauses_in_which_the_bff_waits_for_another(
    connection: Any, bff: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    gateway.down = True
    connection.end()
    await trio.sleep(60)
    assert 12 < len(gateway.attempts) < 60
    _, first, *later = [target for target in bff.requests if target.startswith("GET /v1/me/gateway")]
    assert (first, {*later}) == ("GET /v1/me/gateway", {"GET /v1/me/gateway?unreachable=gateway%3A1"})
    gaps = [later - earlier for earlier, later in itertools.pairwise(gateway.attempts[2:])]
    assert gaps == pytest.approx([WAIT_FOR_ANOTHER_SECONDS] * len(gaps)), "the BFF waits, and no pause is added"
    gateway.down = False
    await gateway.welcome_next()


async def test_a_bff_that_is_slow_shortens_no_pause(
    connection: Any, bff: Any, gateway: Any, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)
    gateway.down, bff.slow_seconds = True, 3.0
    connection.end()
    await trio.sleep(30)
    gap = gateway.attempts[2] - gateway.attempts[1]
    assert gap > bff.slow_seconds + WAIT_FOR_ANOTHER_SECONDS + FIRST / 2, "there was a pause before the second request"


async def test_the_wait_of_the_bff_for_a_gateway_shortens_no_pause_after_another_failure(
    connection: Any, bff: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    bff.token_seconds = 1
    connection.reply(GOODBYE)
    second = await gateway.next_connection()
    await second.welcome()
    gateway.down = True
    second.end()
    await trio.sleep(9)  # then a refresh is due
    bff.answers["POST /v1/tokens/refresh"] = 503, {"code": "unavailable"}
    before = len(bff.requests)
    await trio.sleep(60)
    assert len(bff.requests) - before < 45


async def test_a_server_that_is_too_slow_to_welcome_gets_more_time_at_each_attempt(
    connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    connection.end()
    moments = []
    for _ in range(5):
        await gateway.next_connection()
        moments.append(trio.current_time())
    waits = [later - earlier for earlier, later in itertools.pairwise(moments)]
    for wait, deadline in zip(waits, (WELCOME_DEADLINE, LONGEST_WELCOME_DEADLINE, 40.0, 40.0), strict=True):
        assert deadline <= wait <= deadline + LONGEST
    (await gateway.welcome_next()).end()  # from then on it counts anew
    await gateway.next_connection()
    begin = trio.current_time()
    await gateway.next_connection()
    assert trio.current_time() - begin <= WELCOME_DEADLINE + LONGEST


async def test_a_gateway_that_takes_as_long_as_it_may_is_not_left(
    connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    connection.end()
    second = await gateway.next_connection()
    await trio.sleep(SIGN_IN_SECONDS + 2)  # its deadlines are checked every second
    await second.welcome()
    await trio.sleep(10)
    assert len(gateway.connections) == 2


async def test_a_silent_server_is_left(connection: Any, gateway: Any, autojump_clock: MockClock) -> None:
    begin = trio.current_time()
    await gateway.next_connection()
    assert trio.current_time() - begin < 30 + PONG_DEADLINE + 1
    assert (await connection.next_frame()).HasField("ping")


async def test_a_silent_server_that_owes_an_answer_is_left_sooner(
    client: Client, gateway: Any, autojump_clock: MockClock
) -> None:
    begin = trio.current_time()
    submission = client.submit(9, "hi")
    second = await gateway.welcome_next()
    assert trio.current_time() - begin < 2 * CHECK_SECONDS + PONG_DEADLINE + 1
    await second.accept_next()
    await submission.answer()


async def test_an_expiring_token_is_renewed_within_the_session(connection: Any, bff: Any) -> None:
    connection.reply(pb.ServerFrame(expiring=pb.Expiring(token_expires_at_ms=1)))
    assert (await connection.next_frame()).renew.access_token == bff.token == "token-2"


@pytest.mark.parametrize(("refresh_refused", "sign_ins"), [(False, 1), (True, 2)])
async def test_after_a_goodbye_for_the_token_a_fresh_one_is_used(
    connection: Any, gateway: Any, bff: Any, autojump_clock: MockClock, refresh_refused: bool, sign_ins: int
) -> None:
    bff.refresh_refused = refresh_refused  # the client signs in again then
    connection.reply(GOODBYE)
    second = await gateway.next_connection()
    assert (await second.welcome()).access_token == "token-2"
    assert bff.requests.count("POST /v1/tokens") == sign_ins


async def test_when_the_sign_in_has_ended_everything_raises_signed_out(
    client: Client, connection: Any, bff: Any, autojump_clock: MockClock
) -> None:
    bff.refresh_refused = True
    bff.password = "another"
    submission = client.submit(9, "hi")
    await connection.next_frame()
    connection.reply(GOODBYE)
    with pytest.raises(SignedOut):
        await submission.answer()
    with pytest.raises(SignedOut):
        await take(client, 3)
    with pytest.raises(SignedOut):
        await client.send(9, "hi")


async def test_a_final_goodbye_ends_the_client_with_the_refusal(
    client: Client, connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    waiting = client.submit(9, "hi")
    connection.reply(pb.ServerFrame(goodbye=pb.Goodbye(code="suspended", message="Ask an admin.", is_final=True)))
    for use in (partial(take, client, 3), waiting.answer, partial(client.send, 9, "hi")):
        with pytest.raises(Refused, match=r"Ask an admin\.") as caught:
            await use()
        assert (caught.value.code, caught.value.retryable) == ("suspended", False)
    await trio.sleep(60)
    assert len(gateway.attempts) == 1


async def test_a_goodbye_with_a_delay_is_followed_by_a_connection_after_it(
    connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    begin = trio.current_time()
    connection.reply(pb.ServerFrame(goodbye=pb.Goodbye(code="unavailable", retry_after_ms=9_000)))
    await gateway.next_connection()
    assert 9 <= trio.current_time() - begin < 10
