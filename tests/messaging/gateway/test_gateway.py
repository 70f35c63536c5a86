"""Sessions on a gateway and the real embedded log: who is given what, and what is refused."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import trio

from messaging.gateway.gateway import Gateway
from rookery.v1.backplane_pb2 import Envelope, SignOut
from rookery.v1.session_pb2 import (
    Authenticate,
    ClientFrame,
    Position,
    React,
    Receipt,
    Renew,
    Send,
    Text,
    Typing,
    Unreact,
)
from shared.backplane import Record
from shared.backplane.protocol import publish_and_wait
from shared.configuration import LiveConfiguration
from shared.contract.errors import Code, Refusal
from shared.contract.partitions import partition_of
from tests.messaging.gateway.harness import Client, Platform

Reopen = Callable[[Path], AbstractAsyncContextManager[Platform]]

ANN, BEN, CAT = 1, 2, 3


async def test_a_message_reaches_every_session_of_both_but_the_one_it_came_from(
    platform: Platform, gateway: Gateway
) -> None:
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
        await cat.send(ClientFrame(ping={}))
        await cat.expect("pong")
        await phone.send(ClientFrame(ping={}))
        await phone.expect("pong")


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
    ids = [event.event_id for event in events]
    assert ids == sorted(set(ids))
    offsets = [event.position.offset for event in events]
    assert offsets == sorted(set(offsets))


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
        await ann.send_text("a", BEN)
        assert (await ann.expect("accepted")).accepted == first
        async with platform.sign_in(gateway, ANN) as again:
            await again.send_text("a", BEN)
            assert (await again.until("accepted")).accepted == first
        await ann.send_text("b", BEN)
        ids = []
        while True:
            message = (await ben.expect("event")).event.message
            if message.client_message_id == "b":
                break
            ids.append(message.message_id)
    assert set(ids) == {first.message_id}, "copies may come again, never another message"


async def test_a_retry_after_a_restart_is_recognised_from_the_log(tmp_path: Path, reopen: Reopen) -> None:
    async with reopen(tmp_path) as platform, platform.sign_in(await platform.start_gateway(), ANN) as ann:
        await ann.send_text("a", BEN)
        first = (await ann.expect("accepted")).accepted
    async with reopen(tmp_path) as platform, platform.sign_in(await platform.start_gateway(), ANN) as ann:
        await ann.send_text("a", BEN)
        assert (await ann.until("accepted")).accepted == first
        await ann.send_text("b", BEN)
        assert (await ann.until("accepted")).accepted.message_id > first.message_id


async def test_a_client_message_id_is_not_used_for_two_chats(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", BEN)
        await ann.send_text("a", CAT)
        kinds = {(await ann.next()).WhichOneof("frame") for _ in range(2)}
    assert kinds == {"accepted", "refused"}


async def test_a_message_to_nobody_is_refused_and_the_session_lives(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", 999)
        refused = (await ann.expect("refused")).refused
        assert (refused.code, refused.field, refused.client_message_id) == ("not_found", "send.recipient_id", "a")
        await ann.send(Refusal(Code.MALFORMED, "no JSON"))
        assert (await ann.expect("refused")).refused.code == "malformed"
        await ann.send_text("b", BEN)
        await ann.expect("accepted")


async def test_reactions_reach_everyone_and_need_a_message(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.send_text("a", BEN)
        message_id = (await ann.expect("accepted")).accepted.message_id
        await ben.expect("event")
        await ben.send(ClientFrame(react=React(chat_id="d-1-2", message_id=message_id, emoji="🔥")))
        for client in (ann, ben):
            reaction = (await client.expect("event")).event.reaction
            assert (reaction.message_id, reaction.user_id, reaction.emoji, reaction.set) == (
                message_id,
                BEN,
                "🔥",
                True,
            )
        await ben.send(ClientFrame(unreact=Unreact(chat_id="d-1-2", message_id=message_id, emoji="🔥")))
        assert not (await ann.expect("event")).event.reaction.set
        await ben.expect("event")
        await ben.send(ClientFrame(react=React(chat_id="d-1-2", message_id=12345, emoji="🔥")))
        assert (await ben.expect("refused")).refused.code == "not_found"
        platform.history.messages.add(12345)
        await ben.send(ClientFrame(react=React(chat_id="d-1-2", message_id=12345, emoji="🔥")))
        await ben.expect("event")
        platform.history.refusal = Refusal(Code.UNAVAILABLE, "away")
        await ben.send(ClientFrame(react=React(chat_id="d-1-2", message_id=777, emoji="🔥")))
        assert (await ben.expect("refused")).refused.retryable


async def test_a_reply_needs_its_message(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        reply = Send(client_message_id="a", recipient_id=BEN, text=Text(body="yes"), reply_to=55)
        await ann.send(ClientFrame(send=reply))
        assert (await ann.expect("refused")).refused.code == "not_found"
        platform.history.messages.add(55)
        await ann.send(ClientFrame(send=reply))
        await ann.expect("accepted")


async def test_receipts_reach_every_device_and_not_from_the_future(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.send_text("a", BEN)
        message_id = (await ann.expect("accepted")).accepted.message_id
        await ben.expect("event")
        await ben.send(ClientFrame(receipt=Receipt(chat_id="d-1-2", read_up_to=message_id)))
        for client in (ann, ben):
            receipt = (await client.expect("event")).event.receipt
            assert (receipt.user_id, receipt.read_up_to, receipt.delivered_up_to) == (BEN, message_id, message_id)
        await ben.send(ClientFrame(receipt=Receipt(chat_id="d-1-2", read_up_to=2**63 - 1)))
        assert (await ben.expect("refused")).refused.field == "receipt.delivered_up_to"


async def test_typing_is_told_to_the_others_only(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.send(ClientFrame(typing=Typing(chat_id="d-1-2")))
        assert (await ben.expect("event")).event.typing.user_id == ANN
        await ann.send(ClientFrame(ping={}))
        await ann.expect("pong")


async def test_a_client_resumes_where_it_was(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        async with platform.sign_in(gateway, BEN) as ben:
            await ann.send_text("0", BEN)
            last = (await ben.expect("event")).event.position
        for number in range(1, 6):
            await ann.send_text(str(number), BEN)
            await ann.until("accepted")
        async with platform.sign_in(gateway, BEN, last) as ben:
            replayed = [(await ben.expect("event")).event for _ in range(5)]
            assert [event.message.client_message_id for event in replayed] == ["1", "2", "3", "4", "5"]
            await ann.send_text("6", BEN)
            assert (await ben.expect("event")).event.message.client_message_id == "6"


async def test_a_client_resumes_from_before_the_first_event(platform: Platform, gateway: Gateway) -> None:
    """On a new platform the welcome's position is before everything; a client may come back with it."""
    async with platform.sign_in(gateway, BEN) as ben:
        position = ben.frames[0].welcome.position
        assert position.offset == -1
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", BEN)
        await ann.expect("accepted")
    async with platform.sign_in(gateway, BEN, position) as ben:
        assert (await ben.expect("event")).event.message.client_message_id == "a"


async def test_a_first_session_is_given_the_newest_seconds(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", BEN)
        await ann.expect("accepted")
    async with platform.sign_in(gateway, BEN) as ben:
        assert (await ben.expect("event")).event.message.client_message_id == "a"


async def test_a_position_that_the_tail_does_not_reach_gives_a_gap(platform: Platform) -> None:
    gateway = await platform.start_gateway(LiveConfiguration(replay_events=3, replay_seconds=0))
    async with platform.sign_in(gateway, ANN) as ann:
        for number in range(6):
            await ann.send_text(str(number), BEN)
            await ann.expect("accepted")
    for position in (Position(offset=0, epoch=99), Position(offset=10**9, epoch=1), Position(offset=0, epoch=1)):
        async with platform.sign_in(gateway, BEN, position) as ben:
            assert ben.frames[0].welcome.position == position  # so that who is cut off here is told of the gap again
            gap = (await ben.expect("gap")).gap
            assert gap.since == position
        async with platform.sign_in(gateway, BEN, gap.position) as ben:
            await ann_says_something(platform, gateway)
            assert (await ben.expect("event")).event.message.client_message_id == "after"


async def ann_says_something(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("after", BEN)
        await ann.expect("accepted")


async def test_bad_tokens_end_the_session(platform: Platform, gateway: Gateway) -> None:
    good = await platform.token(ANN)
    expired = await platform.token(ANN, lifetime_seconds=-5)
    revoked = await platform.token(ANN, family_id="over")
    await platform.accounts.end_family("over")
    for token in ("nonsense", expired, revoked, good[:-6] + "AAAAAA", ""):
        async with platform.connect(gateway) as client:
            await client.send(ClientFrame(authenticate=Authenticate(access_token=token)))
            assert (await client.expect("goodbye")).goodbye.code == "unauthenticated"
            assert await client.ended()


async def test_a_session_is_renewed_by_its_own_sign_in_only(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send(ClientFrame(renew=Renew(access_token=await platform.token(BEN))))
        assert (await ann.expect("refused")).refused.code == "forbidden"
        await ann.send(ClientFrame(renew=Renew(access_token=await platform.token(ANN))))
        await ann.send(ClientFrame(ping={}))
        await ann.expect("pong")


async def test_sessions_end_when_their_sign_in_does(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        for family_id, client, user_id in (("family-1", ann, ANN), ("", ben, BEN)):
            envelope = Envelope(sign_out=SignOut(family_id=family_id), recipient_ids=[user_id])
            partition = partition_of(user_id, platform.backplane.partitions)
            await publish_and_wait(platform.backplane, [Record(partition, envelope.SerializeToString())])
            assert (await client.until("goodbye")).goodbye.code == "unauthenticated"


async def test_a_user_may_have_so_many_sessions(platform: Platform) -> None:
    gateway = await platform.start_gateway(LiveConfiguration(max_sessions_per_user=1))
    async with platform.sign_in(gateway, ANN), platform.connect(gateway) as second:
        await second.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
        assert "1 sessions" in (await second.expect("goodbye")).goodbye.message


async def test_a_poison_record_stops_nothing(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        poison = [Record(partition, b"\xff\xff\xff") for partition in range(platform.backplane.partitions)]
        await publish_and_wait(platform.backplane, poison)
        await ann.send_text("a", BEN)
        assert (await ben.expect("event")).event.message.client_message_id == "a"


async def test_of_two_gateways_the_wrong_one_says_where_to_go(platform: Platform, gateway: Gateway) -> None:
    """The partitions are divided; those who were served by the first and no longer are get Reconnect."""
    users = range(1, 10)
    async with trio.open_nursery() as nursery:
        clients = {}
        for user_id in users:
            clients[user_id] = await nursery.start(hold, platform, gateway, user_id)
        second = await platform.start_gateway()
        with trio.fail_after(20):
            while len(second.log_consumer.owned) < 2:
                await trio.sleep(0.001)
        moved = [user for user in users if partition_of(user, 4) in second.log_consumer.owned]
        assert moved
        for user_id in moved:
            await clients[user_id].until("reconnect")
            await clients[user_id].until("goodbye")
            async with platform.connect(gateway) as client:
                token = await platform.token(user_id)
                await client.send(ClientFrame(authenticate=Authenticate(access_token=token)))
                assert (await client.expect("moved")).moved.grpc == "gateway-2:1"
            async with platform.sign_in(second, user_id):
                pass
        stayed = next(user for user in users if user not in moved)
        await clients[stayed].send_text("across", moved[0])
        await clients[stayed].until("accepted")
        async with platform.sign_in(second, moved[0]) as other:
            assert (await other.until("event")).event.message.client_message_id == "across"
        nursery.cancel_scope.cancel()


async def hold(platform: Platform, gateway: Gateway, user_id: int, *, task_status: trio.TaskStatus[Client]) -> None:
    async with platform.sign_in(gateway, user_id) as client:
        task_status.started(client)
        await trio.sleep_forever()


async def test_a_drain_answers_what_was_taken_and_sends_everyone_away(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        for number in range(50):
            await ann.send_text(str(number), BEN)
        await gateway.drain()
        assert await ann.ended()
        kinds = [frame.WhichOneof("frame") for frame in ann.frames]
    answered = [frame.accepted.client_message_id for frame in ann.frames if frame.HasField("accepted")]
    assert answered == [str(number) for number in range(len(answered))]
    assert len(answered) >= 49  # the last one may come too late, and is not answered
    assert "refused" not in kinds
    assert kinds[-2:] == ["reconnect", "goodbye"]
    async with platform.connect(gateway) as late:
        await late.expect("goodbye")
