"""The gateway as a whole: two divide the partitions, and one that stops drains."""

from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from messaging.gateway import role
from messaging.gateway.gateway import Gateway
from messaging.gateway.log_consumer import SETTLE_SECONDS
from messaging.gateway.signals.presences import NOTE_SECONDS
from rookery.v1.session_pb2 import Authenticate, ClientFrame, Typing, Watch
from shared.contract.chats import direct_chat_id
from shared.contract.partitions import partition_of
from shared.signals.redis import open_redis_signals
from tests.messaging.gateway.harness import ALL, ANN, BEN, PARTITIONS, PATIENCE, Client, Platform, ScriptedLog
from tests.shared.drivers.redis_clients import settings_for
from tests.waiting import until
from tools.engines.redis import Redis

HOME = partition_of(ANN, PARTITIONS)


async def test_of_two_gateways_each_serves_its_users_and_moves_the_others(platform: Platform, gateway: Gateway) -> None:
    """The sessions whose partitions move to the second gateway get Reconnect."""
    users = range(1, 10)
    async with trio.open_nursery() as nursery:
        clients = {user_id: await nursery.start(hold, platform, gateway, user_id) for user_id in users}
        second = await platform.start_gateway()
        with trio.fail_after(PATIENCE):
            while len(second.partitions.owned) < 2:
                await trio.sleep(0.001)
        moved = [user for user in users if partition_of(user, PARTITIONS) in second.partitions.owned]
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
        await clients[stayed].send_accepted("across", moved[0])
        async with platform.sign_in(second, moved[0]) as other:
            assert (await other.until("event")).event.message.client_message_id == "across"
        nursery.cancel_scope.cancel()


async def hold(platform: Platform, gateway: Gateway, user_id: int, *, task_status: trio.TaskStatus[Client]) -> None:
    async with platform.sign_in(gateway, user_id) as client:
        task_status.started(client)
        await trio.sleep_forever()


async def test_a_drain_answers_the_accepted_frames_and_sends_every_client_reconnect(
    platform: Platform, gateway: Gateway
) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        for number in range(50):
            await ann.send_text(str(number), BEN)
        await gateway.drain()
        assert await ann.ended()
        kinds = [frame.WhichOneof("frame") for frame in ann.frames]
    answered = [frame.accepted.client_id for frame in ann.frames if frame.HasField("accepted")]
    assert answered == [str(number) for number in range(len(answered))]
    assert len(answered) >= 49  # the last one may come too late, and is not answered
    assert "refused" not in kinds
    assert kinds[-2:] == ["reconnect", "goodbye"]
    async with platform.connect(gateway) as late:
        await late.expect("goodbye")


async def test_a_drain_leaves_the_group_before_the_clients_reconnect(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann, trio.open_nursery() as nursery:
        await ann.send_text("in flight", BEN)
        await log.until_published()
        nursery.start_soon(gateway.drain)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not log.has_left
        log.acknowledge()
        await ann.expect("accepted")
        await ann.expect("reconnect")
        assert log.has_left
        assert platform.directory.owner(HOME) is None
        assert await ann.ended()


async def test_a_drain_sends_every_client_reconnect_also_if_the_log_answers_nothing(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.gateway.gateway.SETTLE_SECONDS", 0.2)
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("in flight", BEN)
        await log.until_published()
        assert SETTLE_SECONDS + NOTE_SECONDS <= role.DRAIN_SECONDS
        with trio.fail_after(PATIENCE):
            await gateway.drain()
        assert log.has_left
        assert log.withdrawn == set(ALL)
        assert await ann.ended()
        assert [frame.WhichOneof("frame") for frame in ann.frames][-2:] == ["reconnect", "goodbye"]


async def test_signals_reach_users_of_two_gateways_over_redis(
    platform: Platform, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.drivers.redis.messages.MAX_AGE_SECONDS", PATIENCE)
    monkeypatch.setattr("messaging.gateway.signals.watches.ROUND_SECONDS", 0.5)  # a watch may be lost before SUBSCRIBE
    settings = settings_for(redis_server)
    async with AsyncExitStack() as stack:
        gateways = []
        for _ in range(2):
            platform.signals = await stack.enter_async_context(open_redis_signals(settings))
            gateways.append(await platform.start_gateway())
        await until(lambda: all(len(each.partitions.owned) == PARTITIONS // 2 for each in gateways))
        owned = [each.partitions.owned for each in gateways]
        ann, ben = (next(user for user in range(1, 10) if partition_of(user, PARTITIONS) in each) for each in owned)
        async with platform.sign_in(gateways[0], ann) as watching:
            await watching.accepted(ClientFrame(watch=Watch(user_ids=[ben])))
            assert not (await watching.until("event")).event.presence.is_online
            async with platform.sign_in(gateways[1], ben) as watched:
                assert (await watching.until("event")).event.presence.is_online
                await watched.accepted(ClientFrame(typing=Typing(chat_id=direct_chat_id(ann, ben))))
                assert (await watching.until("event")).event.typing.user_id == ben
                gateways[0].signals.publisher.profile_changed(ben)
                for client in (watching, watched):
                    assert (await client.until("event")).event.profile_changed.user_id == ben
