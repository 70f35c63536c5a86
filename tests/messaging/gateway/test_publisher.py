"""Publishing on the embedded log: which sessions get an event, which requests are refused, and retries."""

from pathlib import Path

import pytest
import trio
import trio.testing

from messaging.gateway.gateway import Gateway
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import ClientFrame, Message, Position, React, Receipt, Send, Text, Typing, Unreact
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import time_of, wall_clock_ms
from shared.contract.partitions import PARTITION_MAP_EPOCH
from tests.messaging.gateway.harness import ANN, BEN, CAT, Client, Platform, ScriptedLog, open_platform
from tests.waiting import until


async def test_a_message_reaches_every_session_of_both_but_its_origin(platform: Platform, gateway: Gateway) -> None:
    async with (
        platform.sign_in(gateway, ANN) as phone,
        platform.sign_in(gateway, ANN) as laptop,
        platform.sign_in(gateway, BEN) as ben,
        platform.sign_in(gateway, CAT) as cat,
    ):
        await phone.send_text("a", BEN)
        accepted = (await phone.expect("accepted")).accepted
        assert (accepted.client_message_id, accepted.chat_id) == ("a", "d-1-2")
        for client in (laptop, ben):
            message = (await client.expect("event")).event.message
            assert (message.message_id, message.sender_id) == (accepted.message_id, ANN)
            assert (message.client_message_id, message.text.body) == ("a", "hi")
        for client in (cat, phone):
            await client.send(ClientFrame(ping={}))
            await client.expect("pong")


async def test_messages_of_one_sender_keep_their_order(platform: Platform, gateway: Gateway) -> None:
    async with (
        platform.sign_in(gateway, ANN) as ann,
        platform.sign_in(gateway, BEN) as ben,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send_many, ann, 300)
        accepted = [(await ann.expect("accepted")).accepted for _ in range(300)]
        events = [(await ben.expect("event")).event for _ in range(300)]
    assert [answer.client_message_id for answer in accepted] == [str(number) for number in range(300)]
    assert [event.message.client_message_id for event in events] == [str(number) for number in range(300)]
    for numbers in ([event.event_id for event in events], [event.position.offset for event in events]):
        assert numbers == sorted(set(numbers))


async def send_many(client: Client, count: int) -> None:
    for number in range(count):
        await client.send_text(str(number), BEN)


async def test_a_retried_send_makes_one_message(platform: Platform, gateway: Gateway) -> None:
    """On the same session at once, later, and on another session."""
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.send_text("a", BEN)
        await ann.send_text("a", BEN)
        first = (await ann.expect("accepted")).accepted
        assert (await ann.expect("accepted")).accepted == first
        assert await ann.send_accepted("a", BEN) == first
        async with platform.sign_in(gateway, ANN) as again:
            assert await again.send_accepted("a", BEN) == first
        await ann.send_text("b", BEN)
        ids = set()
        while (message := (await ben.expect("event")).event.message).client_message_id != "b":
            ids.add(message.message_id)
    assert ids == {first.message_id}, "copies may come again, never another message"


async def test_a_retry_after_a_restart_is_recognised_from_the_log(tmp_path: Path, lenient: None) -> None:
    async with open_platform(tmp_path) as platform, platform.sign_in(await platform.start_gateway(), ANN) as ann:
        first = await ann.send_accepted("a", BEN)
    async with open_platform(tmp_path) as platform, platform.sign_in(await platform.start_gateway(), ANN) as ann:
        assert await ann.send_accepted("a", BEN) == first
        assert (await ann.send_accepted("b", BEN)).message_id > first.message_id


async def test_a_retry_of_an_unconfirmed_send_has_the_same_id(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", BEN)
        await log.until_published()
        ((records, _),) = log.unacknowledged
        log.acknowledge(Unavailable("no answer"))
        await ann.expect("refused")
        first = Envelope.FromString(records[0].value).event.event_id
        await ann.send_text("a", BEN)
        await log.until_published()
        log.acknowledge()
        assert (await ann.expect("accepted")).accepted.message_id == first


async def test_a_send_waits_until_a_refused_one_before_it_is_sent_again(platform: Platform, log: ScriptedLog) -> None:
    """The client may have sent it before it read the refusal."""
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", BEN)
        await log.until_published()
        log.acknowledge(Unavailable("no answer"))
        await ann.expect("refused")
        for name in ("b", "c"):
            await ann.send_text(name, BEN)
            refused = (await ann.expect("refused")).refused
            assert (refused.client_message_id, refused.code, refused.retryable) == (name, "unavailable", True)
        assert not log.unacknowledged
        for name in ("a", "b", "c", "d"):
            await ann.send_text(name, BEN)
        await log.until_published(4)
        log.acknowledge()
        accepted = [(await ann.expect("accepted")).accepted for _ in range(4)]
        assert [answer.client_message_id for answer in accepted] == ["a", "b", "c", "d"]
        ids = [answer.message_id for answer in accepted]
        assert ids == sorted(ids)


async def test_a_client_message_id_is_not_used_for_two_chats(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", BEN)
        await ann.send_text("a", CAT)
        kinds = {(await ann.next()).WhichOneof("frame") for _ in range(2)}
    assert kinds == {"accepted", "refused"}


def text(body: str) -> ClientFrame:
    return ClientFrame(send=Send(client_message_id="a", recipient_id=BEN, text=Text(body=body)))


async def test_a_client_message_id_is_not_used_for_two_texts(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.send(text("one"))
        await ann.send(text("two"))  # while the first is in flight
        assert {(await ann.next()).WhichOneof("frame") for _ in range(2)} == {"accepted", "refused"}
        await ann.send(text("two"))
        refused = (await ann.expect("refused")).refused
        assert (refused.code, refused.field) == ("invalid", "send.client_message_id")
        await ann.send_text("b", BEN)
        bodies = set()
        while (message := (await ben.expect("event")).event.message).client_message_id != "b":
            bodies.add(message.text.body)
    assert bodies == {"one"}


async def test_a_retry_with_another_text_is_recognised_from_the_log(tmp_path: Path, lenient: None) -> None:
    async with open_platform(tmp_path) as platform, platform.sign_in(await platform.start_gateway(), ANN) as ann:
        await ann.send(text("one"))
        first = (await ann.expect("accepted")).accepted
    async with open_platform(tmp_path) as platform, platform.sign_in(await platform.start_gateway(), ANN) as ann:
        await ann.expect("event")  # the replay
        await ann.send(text("two"))
        assert (await ann.expect("refused")).refused.code == "invalid"
        await ann.send(text("one"))
        assert (await ann.expect("accepted")).accepted == first


def repeated(ms_ago: int | None, body: str = "one") -> ClientFrame:
    frame = text(body)
    if ms_ago is not None:
        frame.send.first_sent_ms_ago = ms_ago
    return frame


@pytest.mark.parametrize(
    ("ms_ago", "is_resumed", "finds"),
    [(0, False, 0), (50_000, False, 0), (90_000, True, 1), (None, True, 0), (None, False, 1)],
)
async def test_history_is_read_only_for_a_send_that_may_repeat_one_from_before_the_tail(
    platform: Platform, gateway: Gateway, ms_ago: int | None, is_resumed: bool, finds: int
) -> None:
    tail = gateway.partitions.tail_of(ANN)
    assert tail is not None
    tail.complete_from_ms = wall_clock_ms() - 120_000
    if ms_ago is None:  # such a client's messages are accepted without it
        platform.history.refusal = Refusal(Code.UNAVAILABLE, "away")
    async with platform.sign_in(
        gateway, ANN, Position(offset=-1, epoch=PARTITION_MAP_EPOCH) if is_resumed else None
    ) as ann:
        for _ in range(2):
            await ann.send(repeated(ms_ago))
            await ann.expect("accepted")
    assert platform.history.finds == finds, "the second one is in the tail"


async def test_a_retry_from_before_the_tail_is_answered_with_the_first_message(
    platform: Platform, log: ScriptedLog
) -> None:
    gateway = await platform.start_gateway()
    first = Message(message_id=77, chat_id="d-1-2", client_message_id="a", text=Text(body="one"))
    platform.history.sends["a"] = first
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send(repeated(2**32 - 1))
        assert (await ann.expect("accepted")).accepted.message_id == 77
        await ann.send(repeated(2**32 - 1, "two"))
        refused = (await ann.expect("refused")).refused
        assert (refused.code, refused.field, refused.retryable) == ("invalid", "send.client_message_id", False)
    assert not log.unacknowledged, "its recipients have it"


async def test_a_retry_from_before_the_tail_waits_for_history(platform: Platform, log: ScriptedLog) -> None:
    """The archive is away, or has not recorded the messages that the tail has forgotten."""
    gateway = await platform.start_gateway()
    tail = gateway.partitions.tail_of(ANN)
    assert tail is not None
    tail.complete_from = log.recorded + 1
    async with platform.sign_in(gateway, ANN) as ann:
        for refusal in (Refusal(Code.UNAVAILABLE, "away", retry_after_ms=500), None):
            platform.history.refusal = refusal
            await ann.send(repeated(2**32 - 1))
            refused = (await ann.expect("refused")).refused
            assert (refused.code, refused.retry_after_ms) == ("unavailable", 500 if refusal else 1_000)
        log.recorded = tail.complete_from
        await ann.send(repeated(2**32 - 1))
        await log.until_published()


async def test_retries_that_wait_for_history_at_once_make_one_message(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    platform.history.open = trio.Event()
    async with platform.sign_in(gateway, ANN) as phone, platform.sign_in(gateway, ANN) as laptop:
        for client in (phone, laptop):
            await client.send(repeated(2**32 - 1))
        await until(lambda: platform.history.finds == 2)
        platform.history.open.set()
        await log.until_published()
        await trio.testing.wait_all_tasks_blocked(0.01)
        log.acknowledge()
        answers = [(await client.expect("accepted")).accepted for client in (phone, laptop)]
    assert answers[0] == answers[1]
    assert not log.unacknowledged


async def test_a_message_to_an_unknown_user_is_refused(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", 999)
        refused = (await ann.expect("refused")).refused
        assert (refused.code, refused.field, refused.client_message_id) == ("not_found", "send.recipient_id", "a")
        await ann.send_accepted("b", BEN)


async def test_reactions_reach_both_and_need_a_message(platform: Platform, gateway: Gateway) -> None:
    def react(message_id: int) -> ClientFrame:
        return ClientFrame(react=React(chat_id="d-1-2", message_id=message_id, emoji="🔥"))

    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        message_id = (await ann.send_accepted("a", BEN)).message_id
        await ben.expect("event")
        unreact = ClientFrame(unreact=Unreact(chat_id="d-1-2", message_id=message_id, emoji="🔥"))
        for frame, is_set in ((react(message_id), True), (unreact, False)):
            await ben.send(frame)
            for client in (ann, ben):
                reaction = (await client.expect("event")).event.reaction
                assert (reaction.message_id, reaction.user_id, reaction.emoji) == (message_id, BEN, "🔥")
                assert reaction.set == is_set
        await ben.send(react(12345))
        assert (await ben.expect("refused")).refused.code == "not_found"
        platform.history.messages.add(12345)
        await ben.send(react(12345))
        await ben.expect("event")
        platform.history.refusal = Refusal(Code.UNAVAILABLE, "away")
        await ben.send(react(777))
        assert (await ben.expect("refused")).refused.retryable


async def test_a_reply_needs_its_message(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        reply = ClientFrame(send=Send(client_message_id="a", recipient_id=BEN, text=Text(body="yes"), reply_to=55))
        await ann.send(reply)
        assert (await ann.expect("refused")).refused.code == "not_found"
        platform.history.messages.add(55)
        await ann.send(reply)
        await ann.expect("accepted")


async def test_receipts_reach_every_device_and_not_from_the_future(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        message_id = (await ann.send_accepted("a", BEN)).message_id
        await ben.expect("event")
        await ben.send(ClientFrame(receipt=Receipt(chat_id="d-1-2", read_up_to=message_id)))
        for client in (ann, ben):
            receipt = (await client.expect("event")).event.receipt
            assert (receipt.user_id, receipt.read_up_to, receipt.delivered_up_to) == (BEN, message_id, message_id)
        await ben.send(ClientFrame(receipt=Receipt(chat_id="d-1-2", read_up_to=2**63 - 1)))
        assert (await ben.expect("refused")).refused.field == "receipt.delivered_up_to"


async def test_messages_are_marked_as_read_after_the_clock_was_set_back(
    platform: Platform, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        message_id = (await ann.send_accepted("a", BEN)).message_id
        await ben.expect("event")
        monkeypatch.setattr("messaging.gateway.publisher.wall_clock_ms", lambda: time_of(message_id) - 3_600_000)
        await ben.send(ClientFrame(receipt=Receipt(chat_id="d-1-2", read_up_to=message_id)))
        assert (await ben.expect("event")).event.receipt.read_up_to == message_id
        await ben.send(ClientFrame(receipt=Receipt(chat_id="d-1-2", read_up_to=message_id + (60_000 << 22))))
        assert (await ben.expect("refused")).refused.field == "receipt.delivered_up_to"


async def test_typing_reaches_the_other_member_only(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.send(ClientFrame(typing=Typing(chat_id="d-1-2")))
        assert (await ben.expect("event")).event.typing.user_id == ANN
        await ann.send(ClientFrame(ping={}))
        await ann.expect("pong")
