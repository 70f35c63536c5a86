"""What the client promises, against hand-made halves of a server."""

import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rookery.client import Accepted, Client, Connected, Disconnected, Gap, Message, Refused, SignedOut, Unreachable
from rookery.client.backoff import LONGEST, LONGEST_SOON
from rookery.client.events import EventQueue
from rookery.client.reconnector import CHECK_SECONDS, WELCOME_DEADLINE
from rookery.v1 import session_pb2 as pb

TAKEOVER = 8.0
"""Seconds until another gateway has the partition: the broker's six, and some for the work."""

OpenClient = Callable[..., AbstractAsyncContextManager[Client]]
Pair = tuple[Client, Any]


async def take(client: Client, count: int) -> list[object]:
    """The next events of the client."""
    events: list[object] = []
    async for event in client.events():
        events.append(event)
        if len(events) == count:
            break
    return events


async def test_a_wrong_password_is_refused_at_the_opening(open_fake_client: OpenClient) -> None:
    with pytest.raises(Refused, match="Wrong name or password") as caught:
        async with open_fake_client("wrong"):
            pass
    assert caught.value.code == "unauthenticated"


async def test_a_taken_name_is_refused_at_the_opening(open_fake_client: OpenClient, bff: Any) -> None:
    bff.answers["POST /v1/users"] = 409, {"code": "name_taken", "detail": "The name ada is taken."}
    with pytest.raises(Refused, match="taken"):
        async with open_fake_client(register=True):
            pass


async def test_without_a_bff_the_opening_says_so(open_fake_client: OpenClient, bff: Any) -> None:
    bff.down = True
    with pytest.raises(Unreachable, match="http://bff"):
        async with open_fake_client():
            pass


async def test_without_a_gateway_the_opening_gives_up(
    open_fake_client: OpenClient, gateway: Any, autojump_clock: MockClock
) -> None:
    gateway.down = True
    with pytest.raises(Unreachable, match="no session within 15 s"):
        async with open_fake_client():
            pass


async def test_send_returns_once_the_message_is_accepted(client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def answer() -> None:
            frame = await connection.hear()
            assert (frame.send.recipient_id, frame.send.text.body) == (9, "hi")
            connection.accept(frame, 100)

        accepted = await client.send(9, "hi")
    assert isinstance(accepted, Accepted)
    assert (accepted.message_id, accepted.chat_id) == (100, "d-7-9")


async def test_a_refused_message_raises_the_servers_reason(client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def answer() -> None:
            key = (await connection.hear()).send.client_message_id
            refused = pb.Refused(client_message_id=key, code="rate_limited", message="Slow down.", retryable=True)
            connection.say(pb.ServerFrame(refused=refused))

        with pytest.raises(Refused, match="Slow down") as caught:
            await client.send("d-7-9", "hi")
    assert caught.value.retryable
    assert caught.value.client_message_id


async def test_a_message_without_an_answer_can_be_tried_again_under_its_key(
    client_and_connection: Pair, autojump_clock: MockClock
) -> None:
    client, connection = client_and_connection
    with pytest.raises(Unreachable) as caught:
        await client.send(9, "hi", deadline=5)
    first = await connection.hear()
    assert caught.value.client_message_id == first.send.client_message_id


async def test_a_message_sent_while_there_is_no_connection_goes_out_with_the_next(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    client, connection = client_and_connection
    connection.end()
    await wait_all_tasks_blocked()
    assert not client.is_connected
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def come_back() -> None:
            second = await gateway.welcome_next()
            second.accept(await second.hear(), 100)

        assert (await client.send(9, "hi")).message_id == 100


async def test_an_unanswered_message_is_sent_again_with_the_same_key(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    client, connection = client_and_connection
    keys = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def lose_the_first() -> None:
            keys.append((await connection.hear()).send.client_message_id)
            connection.end()
            second = await gateway.welcome_next()
            frame = await second.hear()
            keys.append(frame.send.client_message_id)
            second.accept(frame, 100)

        await client.send(9, "hi")
    assert keys[0] == keys[1]


async def test_events_come_once_and_in_order_over_a_reconnect(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    client, connection = client_and_connection
    connection.message(11)
    connection.message(12)
    await wait_all_tasks_blocked()
    connection.end()
    second = await gateway.next_connection()
    authenticate = await second.welcome(replayed=1)
    assert authenticate.last_position == pb.Position(offset=12, epoch=1)
    second.message(12)
    second.message(13)
    events = await take(client, 6)
    assert [event.message_id for event in events if isinstance(event, Message)] == [11, 12, 13]
    assert [type(event) for event in events if not isinstance(event, Message)] == [Connected, Disconnected, Connected]


async def test_a_gap_is_an_event(client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    connection.say(pb.ServerFrame(gap=pb.Gap(since_ms=5)))
    assert (await take(client, 2))[1] == Gap(since_ms=5)


async def test_reconnect_waits_as_long_as_it_is_told(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    _, connection = client_and_connection
    begin = trio.current_time()
    connection.say(pb.ServerFrame(reconnect=pb.Reconnect(after_ms=60_000)))
    await gateway.next_connection()
    assert 60 <= trio.current_time() - begin < 61


async def test_moved_leads_to_the_other_gateway(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    _, connection = client_and_connection
    connection.say(pb.ServerFrame(moved=pb.Moved(grpc="other:2")))
    begin = trio.current_time()
    second = await gateway.next_connection()
    assert second.endpoint == "other:2"
    assert trio.current_time() == begin
    second.end()  # and if that fails, the BFF is asked again
    assert (await gateway.next_connection()).endpoint == "gateway:1"


async def test_gateways_that_send_a_client_to_each_other_are_not_kept_busy(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    _, connection = client_and_connection
    with trio.move_on_after(10):
        while True:
            connection.say(pb.ServerFrame(moved=pb.Moved(grpc="other:2")))
            connection = await gateway.next_connection()
    assert len(gateway.attempts) < 40


async def test_a_bff_without_a_gateway_says_when_to_ask_again(
    client_and_connection: Pair, bff: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    _, connection = client_and_connection
    bff.answers["GET /v1/me/gateway"] = 503, {"code": "unavailable", "retry_after_ms": "4000"}
    begin = trio.current_time()
    connection.end()
    await trio.sleep(20)
    bff.answers.clear()
    await gateway.next_connection()
    assert 3 <= bff.requests.count("GET /v1/me/gateway") <= 7
    assert trio.current_time() - begin < 25


async def test_attempts_to_reconnect_grow_apart_up_to_a_bound(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    _, connection = client_and_connection
    gateway.down = True
    connection.end()
    await trio.sleep(600)
    waits = [after - before for before, after in zip(gateway.attempts, gateway.attempts[1:], strict=False)]
    assert 150 < len(waits) < 400  # half of LONGEST on average, once it has grown
    assert max(waits) <= LONGEST
    assert max(waits[:2]) <= 1


async def test_while_another_gateway_takes_over_no_pause_is_long(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    _, connection = client_and_connection
    begin = trio.current_time()
    gateway.down = True
    connection.end()
    await trio.sleep(TAKEOVER)
    moments = [begin, *(moment for moment in gateway.attempts if moment > begin)]
    assert max(after - before for before, after in itertools.pairwise(moments)) <= LONGEST_SOON
    gateway.down = False
    await gateway.welcome_next()
    assert trio.current_time() - begin <= TAKEOVER + LONGEST_SOON


async def test_a_silent_server_is_left(client_and_connection: Pair, gateway: Any, autojump_clock: MockClock) -> None:
    _, connection = client_and_connection
    begin = trio.current_time()
    await gateway.next_connection()
    assert trio.current_time() - begin < WELCOME_DEADLINE + 30 + WELCOME_DEADLINE + 1
    assert (await connection.hear()).HasField("ping")


async def test_a_server_that_owes_an_answer_and_is_silent_is_left_soon(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    client, connection = client_and_connection
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, 9, "hi")
        second = await gateway.welcome_next()
        assert trio.current_time() - begin < WELCOME_DEADLINE + 2 * CHECK_SECONDS + WELCOME_DEADLINE + 1
        second.accept(await second.hear(), 100)
    assert (await connection.hear()).HasField("send")


async def test_what_is_submitted_is_sent_in_that_order_and_answered_each_for_itself(
    client_and_connection: Pair,
) -> None:
    client, connection = client_and_connection
    submissions = [client.submit(9, text) for text in ("one", "two", "three")]
    frames = [await connection.hear() for _ in submissions]
    assert [frame.send.text.body for frame in frames] == ["one", "two", "three"]
    for frame, message_id in reversed(list(zip(frames, (101, 102, 103), strict=True))):
        connection.accept(frame, message_id)
    answers = [await submission.answer() for submission in submissions]
    assert [answer.message_id for answer in answers] == [101, 102, 103]


async def test_an_expiring_token_is_renewed_within_the_session(client_and_connection: Pair, bff: Any) -> None:
    _, connection = client_and_connection
    connection.say(pb.ServerFrame(expiring=pb.Expiring(token_expires_at_ms=1)))
    assert (await connection.hear()).renew.access_token == bff.token == "token-2"


async def test_after_a_goodbye_for_the_token_a_fresh_one_is_used(
    client_and_connection: Pair, gateway: Any, bff: Any, autojump_clock: MockClock
) -> None:
    _, connection = client_and_connection
    connection.say(pb.ServerFrame(goodbye=pb.Goodbye(code="unauthenticated", message="Expired.")))
    second = await gateway.next_connection()
    assert (await second.welcome()).access_token == "token-2"


async def test_a_refresh_that_is_refused_leads_to_a_new_sign_in(
    client_and_connection: Pair, gateway: Any, bff: Any, autojump_clock: MockClock
) -> None:
    _, connection = client_and_connection
    bff.refresh_refused = True
    connection.say(pb.ServerFrame(goodbye=pb.Goodbye(code="unauthenticated")))
    second = await gateway.next_connection()
    assert (await second.welcome()).access_token == "token-2"
    assert bff.requests.count("POST /v1/tokens") == 2


async def test_when_nothing_signs_in_any_more_everything_says_so(
    client_and_connection: Pair, bff: Any, autojump_clock: MockClock
) -> None:
    client, connection = client_and_connection
    bff.refresh_refused = True
    bff.password = "another"
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def sign_out() -> None:
            await connection.hear()
            connection.say(pb.ServerFrame(goodbye=pb.Goodbye(code="unauthenticated")))

        with pytest.raises(SignedOut):
            await client.send(9, "hi")
    with pytest.raises(SignedOut):
        await take(client, 3)
    with pytest.raises(SignedOut):
        await client.send(9, "hi")


async def test_a_request_whose_token_ended_early_is_made_again_with_a_fresh_one(
    client_and_connection: Pair, bff: Any
) -> None:
    client, _ = client_and_connection
    bff._tokens += 1
    bff.refresh_refused = True  # the old refresh token is not current either
    assert (await client.api.gateway()).grpc == "gateway:1"


async def test_a_cancelled_send_is_not_sent_later(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    client, connection = client_and_connection
    connection.end()
    await wait_all_tasks_blocked()
    with trio.move_on_after(0.001):
        await client.send(9, "hi")
    second = await gateway.welcome_next()
    client.typing("d-7-9")
    await wait_all_tasks_blocked()
    client.typing("d-7-9")
    assert (await second.hear()).HasField("typing")


async def test_receipts_and_typing_go_out(client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    client.typing("d-7-9")
    client.mark("d-7-9", read_up_to=5)
    frames = [await connection.hear(), await connection.hear()]
    assert [frame.WhichOneof("frame") for frame in frames] == ["typing", "receipt"]


async def test_a_reaction_returns_once_everyone_is_told(client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def answer() -> None:
            react = (await connection.hear()).react
            reaction = pb.Reaction(chat_id=react.chat_id, message_id=react.message_id, user_id=7, emoji="👍", set=True)
            connection.say(pb.ServerFrame(event=pb.Event(event_id=50, reaction=reaction)))

        await client.react("d-7-9", 5, "👍")


async def test_a_reader_that_falls_behind_gets_a_gap_and_holds_up_nobody() -> None:
    queue = EventQueue(max_events=2)
    for number in range(1, 6):
        queue.put(Message(message_id=number), at_ms=number)
    assert await anext(queue) == Message(message_id=1)
    queue.put(Message(message_id=6), at_ms=6)
    assert await anext(queue) == Message(message_id=2)
    assert await anext(queue) == Gap(since_ms=3, dropped=4)
    queue.put(Message(message_id=7), at_ms=7)
    assert await anext(queue) == Message(message_id=7)


async def test_leaving_the_block_ends_the_connection(open_fake_client: OpenClient, gateway: Any) -> None:
    async with trio.open_nursery() as nursery:
        connections = []

        @nursery.start_soon
        async def welcome() -> None:
            connections.append(await gateway.welcome_next())

        async with open_fake_client():
            pass
    with pytest.raises(trio.EndOfChannel):
        await connections[0].hear()


async def test_a_long_replay_reaches_a_reader_without_a_gap(
    client_and_connection: Pair, gateway: Any, autojump_clock: MockClock
) -> None:
    client, connection = client_and_connection
    connection.end()
    second = await gateway.welcome_next(replayed=1_900)
    for message_id in range(1, 1_901):
        second.message(message_id)
    events = await take(client, 1_903)
    assert [event.message_id for event in events if isinstance(event, Message)] == list(range(1, 1_901))
