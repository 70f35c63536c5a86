"""Sign-in: accepted tokens, replayed events, and the move of a client to another gateway."""

from typing import Any

import pytest
import trio.testing

from messaging.gateway import sign_in
from messaging.gateway.gateway import Gateway
from rookery.v1.backplane_pb2 import Envelope, SignOut
from rookery.v1.session_pb2 import Accepted, Authenticate, ClientFrame, Position, Renew
from shared.accounts.store import AccountStatus
from shared.configuration import LiveConfiguration
from shared.contract.partitions import partition_of
from shared.coordination.ownership import WAITED_RETRY_MS, GatewayAddress
from tests.messaging.gateway.harness import ANN, BEN, PARTITIONS, Platform, ScriptedLog
from tests.waiting import until

HOME = partition_of(ANN, PARTITIONS)


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
        assert (await ann.expect("accepted")).accepted == Accepted(frame=3)


async def test_the_sessions_of_a_user_are_limited(platform: Platform) -> None:
    gateway = await platform.start_gateway(LiveConfiguration(max_sessions_per_user=1))
    async with platform.sign_in(gateway, ANN), platform.connect(gateway) as second:
        await second.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
        assert "1 sessions" in (await second.expect("goodbye")).goodbye.message


async def test_a_client_resumes_from_its_position_and_then_live(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        async with platform.sign_in(gateway, BEN) as ben:
            await ann.send_text("0", BEN)
            last = (await ben.expect("event")).event.position
        for number in range(1, 6):
            await ann.send_accepted(str(number), BEN)
        async with platform.sign_in(gateway, BEN, last) as ben:
            await ann.send_text("6", BEN)
            events = [(await ben.expect("event")).event for _ in range(6)]
            assert [event.message.client_message_id for event in events] == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_session_without_a_position_or_from_before_the_first_event_gets_the_newest_seconds(
    platform: Platform, gateway: Gateway, is_first: bool
) -> None:
    """On a new platform the welcome's position is before every event, and a client may resume from it."""
    async with platform.sign_in(gateway, BEN) as ben:
        position = ben.frames[0].welcome.position
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_accepted("a", BEN)
    async with platform.sign_in(gateway, BEN, None if is_first else position) as ben:
        assert (await ben.expect("event")).event.message.client_message_id == "a"


async def test_a_position_that_the_tail_does_not_reach_causes_a_gap(platform: Platform) -> None:
    """The gap states the time of a position that the tail has, and from which too many events would be replayed."""
    gateway = await platform.start_gateway(LiveConfiguration(replay_events=3, replay_seconds=0))
    async with platform.sign_in(gateway, ANN) as ann:
        for number in range(6):
            await ann.send_accepted(str(number), BEN)
        for offset, epoch, is_held in ((0, 99, False), (10**9, 1, False), (0, 1, False), (1, 1, True)):
            position = Position(offset=offset, epoch=epoch)
            async with platform.sign_in(gateway, BEN, position) as ben:
                assert ben.frames[0].welcome.position == position, "a client that is cut off here gets the gap again"
                gap = (await ben.expect("gap")).gap
                assert (gap.since, gap.since_ms > 0) == (position, is_held)
            async with platform.sign_in(gateway, BEN, gap.position) as ben:
                await ann.send_text(f"after {position}", BEN)
                assert (await ben.expect("event")).event.message.client_message_id == f"after {position}"


async def test_a_client_is_moved_to_an_owner_with_a_complete_address_and_else_disconnected(
    platform: Platform, log: ScriptedLog
) -> None:
    gateway = await platform.start_gateway()
    log.assign(frozenset(), frozenset([HOME]), 2)
    await trio.testing.wait_all_tasks_blocked(0.01)
    for owner, answer in [
        (GatewayAddress("ws://:8181/session", ":8182"), "reconnect"),
        (GatewayAddress("ws://two.example.org/session", "two.example.org:443"), "moved"),
    ]:
        async with platform.connect(gateway) as client:
            await client.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
            await trio.testing.wait_all_tasks_blocked(0.01)
            platform.directory.publish(owner, [HOME], 3)  # the client waits for it
            await client.expect(answer)
            platform.directory.publish(owner, [], 3)


async def test_a_client_that_has_waited_in_vain_for_an_owner_connects_again_soon(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "OWNER_SECONDS", 0.05)
    gateway = await platform.start_gateway()
    log.assign(frozenset(), frozenset([HOME]), 2)
    await until(lambda: HOME not in gateway.partitions.owned)
    async with platform.connect(gateway) as client:
        await client.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
        assert (await client.expect("reconnect")).reconnect.after_ms == WAITED_RETRY_MS


async def test_a_client_waits_until_its_gateway_owns_its_partition(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    log.assign(frozenset(), frozenset([HOME]), 2)
    async with platform.connect(gateway) as client:
        await client.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
        await trio.testing.wait_all_tasks_blocked(0.01)
        log.assign(frozenset([HOME]), frozenset(), 3)
        await client.expect("welcome")


@pytest.mark.parametrize(("family_id", "answer"), [("family-1", "goodbye"), ("earlier", "welcome")])
async def test_a_client_that_waits_gets_a_session_if_its_own_sign_in_has_not_ended_meanwhile(
    platform: Platform, log: ScriptedLog, family_id: str, answer: str
) -> None:
    """Also an end of all sign-ins from before its own one is in the tail that its gateway reads."""
    gateway = await platform.start_gateway()
    log.assign(frozenset(), frozenset([HOME]), 2)
    async with platform.connect(gateway) as client:
        await client.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
        await trio.testing.wait_all_tasks_blocked(0.01)
        await platform.accounts.end_family(family_id)
        log.overtaking[HOME] = [Envelope(sign_out=SignOut(), recipient_ids=[ANN])]
        log.assign(frozenset([HOME]), frozenset(), 3)
        frame = await client.expect(answer)
        assert frame.goodbye.code == ("unauthenticated" if answer == "goodbye" else "")


@pytest.mark.parametrize("family_id", ["family-1", ""])
async def test_a_sign_in_that_ends_while_it_is_checked_gets_no_session(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch, family_id: str
) -> None:
    gateway = await platform.start_gateway()
    read = platform.accounts.sign_in_status

    async def read_before_the_end(*sign_in: Any) -> AccountStatus | None:
        status = await read(*sign_in)
        offset = log.store(HOME, Envelope(sign_out=SignOut(family_id=family_id), recipient_ids=[ANN]))
        await until(lambda: gateway.partitions.tails[HOME].next_offset > offset)
        return status

    monkeypatch.setattr(platform.accounts, "sign_in_status", read_before_the_end)
    async with platform.connect(gateway) as client:
        await client.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
        assert (await client.expect("goodbye")).goodbye.code == "unauthenticated"
        assert await client.ended()
