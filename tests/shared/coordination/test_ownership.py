"""The contract of every directory of partitions, and the directory in Redis during and after outages.

A further twin needs a line in ENGINES.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import msgspec
import pytest
import structlog
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from shared.coordination.ownership import (
    Directory,
    GatewayAddress,
    LocalDirectory,
    OwnershipClaim,
    OwnershipClaims,
)
from shared.coordination.redis import ownership as ownership_redis
from shared.coordination.redis.ownership import RedisDirectory, open_redis_directory
from shared.drivers.redis import RedisClient, open_redis
from shared.settings import RedisSettings
from tests.shared.drivers.redis_clients import blocking, settings_for
from tests.waiting import PATIENCE, until
from tools.engines.redis import Redis

ONE = GatewayAddress("ws://one:8081/session", "one:8082", "one.internal:8082")
TWO = GatewayAddress("wss://two.example.org/session", "two.example.org:443")

PROMPT = 10.0
"""Seconds that closing may take, whatever Redis does: one is promised, and the machine may be busy. Waiting for Redis
would take 30 here."""

OpenDirectory = Callable[[], AbstractAsyncContextManager[Directory]]
"""Opens the one directory of a test. Opening it twice is how two processes share it, where they can."""


def local(request: pytest.FixtureRequest) -> OpenDirectory:
    directory = LocalDirectory()
    return lambda: nullcontext(directory)


def redis(request: pytest.FixtureRequest) -> OpenDirectory:
    return partial(_open, settings_for(request.getfixturevalue("redis_server")))


ENGINES = {"local": local, "redis": redis}


@pytest.fixture(params=sorted(ENGINES))
def open_directory(request: pytest.FixtureRequest) -> OpenDirectory:
    return ENGINES[request.param](request)


class Views(NamedTuple):
    """The directories of two gateways, and of a process that only reads."""

    first: Directory
    second: Directory
    reader: Directory

    async def agree(self, *owners: GatewayAddress | None) -> None:
        """Wait until all of them have these owners of the partitions 0, 1, ..."""
        await until(lambda: all([view.owner(part) for part in range(len(owners))] == [*owners] for view in self))


@pytest.fixture
async def views(open_directory: OpenDirectory) -> AsyncIterator[Views]:
    async with open_directory() as first, open_directory() as second, open_directory() as reader:
        yield Views(first, second, reader)


async def test_a_claim_is_known_at_once_in_its_process_and_soon_in_all_until_it_is_withdrawn(views: Views) -> None:
    await views.agree(None, None, None)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait_for_owner() -> None:
            with trio.fail_after(PATIENCE):
                while views.reader.owner(0) is None:
                    await views.reader.changed()

        await trio.testing.wait_all_tasks_blocked()
        views.first.publish(ONE, [0, 1], 1)
        assert views.first.owner(0) == ONE
    await views.agree(ONE, ONE, None)
    views.first.publish(ONE, [1, 2], 2)
    await views.agree(None, ONE, ONE)
    views.first.publish(ONE, [], 3)
    assert views.first.owner(1) is None
    await views.agree(None, None, None)


async def test_partitions_move_from_one_gateway_to_another(views: Views) -> None:
    views.first.publish(ONE, [0, 1, 2], 1)
    await views.agree(ONE, ONE, ONE)
    views.first.publish(ONE, [0], 2)
    views.second.publish(TWO, [1, 2], 2)
    await views.agree(ONE, TWO, TWO)


async def test_the_internal_address_is_known_and_may_change(views: Views) -> None:
    for epoch, internal in enumerate(("one.internal:8082", "grpcs://one.internal:8082", "")):
        views.first.publish(replace(ONE, internal=internal), [0], epoch)
        await until(lambda internal=internal: {view.owner(0).internal for view in views if view.owner(0)} == {internal})  # type: ignore[misc, union-attr]


async def test_of_two_claims_of_the_same_epoch_the_newer_counts(views: Views) -> None:
    views.first.publish(ONE, [0], 1)
    await views.agree(ONE)
    views.second.publish(TWO, [0], 1)
    await until(lambda: views.second.owner(0) == TWO and views.reader.owner(0) == TWO)


async def test_the_lower_epoch_owns_when_the_other_is_withdrawn(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership_redis, "PUSH_SECONDS", 0.05)
    views.second.publish(TWO, [0], 2)
    await views.agree(TWO)
    views.first.publish(ONE, [0], 1)
    await views.agree(TWO)
    views.second.publish(TWO, [], 3)
    await views.agree(ONE)


async def test_a_claim_of_a_restarted_gateway_counts_though_its_epoch_is_lower(views: Views) -> None:
    """As after the group, which counts the epochs, was created anew."""
    views.first.publish(ONE, [0, 1], 100)
    await views.agree(ONE, ONE)
    views.first.publish(ONE, [1], 1)
    await views.agree(None, ONE)
    views.second.publish(TWO, [1], 2)
    await views.agree(None, TWO)


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.frozensets(st.integers(0, 2)), st.integers(0, 3))))
def test_the_owner_is_by_the_last_claim_of_its_gateway_and_no_other_has_a_higher_epoch(
    made: list[tuple[GatewayAddress, frozenset[int], int]],
) -> None:
    claims = OwnershipClaims()
    last: dict[GatewayAddress, OwnershipClaim] = {}
    for each in made:
        last[each[0]] = OwnershipClaim(*each)
        claims.put(last[each[0]])
    for partition in range(3):
        found = claims.of(partition)
        candidates = [claim for claim in last.values() if partition in claim.owned]
        assert (found is None) == (not candidates)
        if found is not None:
            assert found in candidates
            assert found.epoch == max(claim.epoch for claim in candidates)


async def test_a_process_that_stops_removes_its_entries_at_once(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership_redis, "REMOVE_SECONDS", PATIENCE)  # the machine may be busy
    settings = settings_for(redis_server)
    async with _open(settings) as reader:
        async with _open(settings) as gateway:
            gateway.publish(ONE, [0], 1)
            await until(lambda: reader.owner(0) == ONE)
        await until(lambda: reader.owner(0) is None)
        async with open_redis(settings) as client:
            assert await client.call("HGETALL", f"{settings.prefix}owners") == []


async def test_entries_of_a_dead_gateway_expire_and_a_lower_epoch_replaces_them(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership_redis, "READ_SECONDS", 0.05)
    settings = settings_for(redis_server)
    async with open_redis(settings) as client, _open(settings) as gateway, _open(settings) as reader:
        await _put(client, settings, 0, TWO, epoch=5, seconds=60)
        await until(lambda: reader.owner(0) == TWO)
        await _put(client, settings, 0, TWO, epoch=5, seconds=0.3)  # its last entry
        await until(lambda: reader.owner(0) is None)
        gateway.publish(ONE, [0], 1)
        await until(lambda: reader.owner(0) == ONE)


async def test_refreshed_entries_do_not_expire(redis_server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their expiry is postponed each time, no matter by how much: the machine may be busy."""
    monkeypatch.setattr(ownership_redis, "ENTRY_SECONDS", PATIENCE)
    monkeypatch.setattr(ownership_redis, "PUSH_SECONDS", 0.1)
    monkeypatch.setattr(ownership_redis, "READ_SECONDS", 0.1)
    settings = settings_for(redis_server)
    async with _open(settings) as gateway, _open(settings) as reader:
        gateway.publish(ONE, [0], 1)
        await until(lambda: reader.owner(0) == ONE)
        for _ in range(3):
            expiry = reader._entries[0].until
            await until(lambda expiry=expiry: reader._entries[0].until > expiry)  # type: ignore[misc]
            assert reader.owner(0) == ONE


async def test_an_unreadable_entry_is_skipped_and_logged_once(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership_redis, "READ_SECONDS", 0.02)
    settings = settings_for(redis_server)
    with structlog.testing.capture_logs() as logs:
        async with open_redis(settings) as client, _open(settings) as gateway, _open(settings) as reader:
            await client.call("HSET", f"{settings.prefix}owners", 0, "{", 1, "[]", 2, '{"epoch":1}', "x", "{}")
            gateway.publish(ONE, [1], 1)
            await until(lambda: reader.owner(1) == ONE)
            await trio.sleep(0.2)
            assert reader.owner(0) is None
    assert 1 <= len([entry for entry in logs if entry["event"] == "directory_entries_unreadable"]) <= 4


async def test_while_redis_is_away_owners_stay_known_past_their_expiry(
    own_redis: Callable[..., Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership_redis, "READ_SECONDS", 0.1)
    server = own_redis()
    settings = settings_for(server)
    async with _open(settings) as gateway, _open(settings) as reader:
        gateway.publish(ONE, [0], 1)
        await until(lambda: reader.owner(0) == ONE)
        await blocking(server.kill)
        reader._entries = {0: msgspec.structs.replace(reader._entries[0], until=0.0)}  # as when much time has passed
        for _ in range(20):
            await trio.sleep(0.05)
            assert reader.owner(0) == ONE


async def test_owners_stay_known_through_the_restart_of_an_empty_redis_and_are_there_again_soon(
    own_redis: Callable[..., Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership_redis, "READ_SECONDS", 0.2)
    monkeypatch.setattr(ownership_redis, "KEEP_MISSING_SECONDS", PATIENCE)  # the machine may be busy
    monkeypatch.setattr(ownership_redis, "PUSH_SECONDS", 2 * PATIENCE)  # so that none of these brings them back
    server = own_redis()
    settings = settings_for(server)
    async with open_redis(settings) as client, _open(settings) as gateway, _open(settings) as reader:
        gateway.publish(ONE, [0], 1)
        await until(lambda: reader.owner(0) == ONE)
        with structlog.testing.capture_logs() as logs:

            def events() -> list[str]:
                return sorted(entry["event"] for entry in logs if entry["event"].startswith("redis"))

            async with trio.open_nursery() as nursery:

                async def watch() -> None:
                    while True:
                        assert reader.owner(0) == ONE
                        await trio.sleep(0.001)

                nursery.start_soon(watch)
                await blocking(server.kill)
                await until(lambda: events() == ["redis_unavailable"] * 2)
                await trio.sleep(0.7)
                await blocking(server.start)
                with trio.fail_after(PATIENCE):
                    while not await client.call("HGET", f"{settings.prefix}owners", 0):
                        await trio.sleep(0.02)
                async with _open(settings) as newcomer:
                    await until(lambda: newcomer.owner(0) == ONE)
                await until(lambda: len(events()) == 4)
                nursery.cancel_scope.cancel()
    assert events() == ["redis_available"] * 2 + ["redis_unavailable"] * 2  # each process once, however often it tried


async def test_one_that_is_missing_after_an_outage_is_forgotten_after_a_while(
    own_redis: Callable[..., Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership_redis, "READ_SECONDS", 0.1)
    monkeypatch.setattr(ownership_redis, "KEEP_MISSING_SECONDS", 0.3)
    server = own_redis()
    settings = settings_for(server)
    async with open_redis(settings) as client, _open(settings) as reader:
        await _put(client, settings, 0, ONE, epoch=5, seconds=60)
        await until(lambda: reader.owner(0) == ONE)
        await blocking(server.kill)
        await blocking(server.start)
        await until(lambda: reader.owner(0) is None)


async def test_claims_during_an_outage_are_sent_after_it(own_redis: Callable[..., Redis]) -> None:
    server = own_redis()
    settings = settings_for(server)
    server.kill()
    async with _open(settings) as gateway, _open(settings) as reader:
        gateway.publish(ONE, [0, 1], 1)
        assert gateway.owner(0) == ONE
        gateway.publish(ONE, [1, 2], 2)
        assert [gateway.owner(part) for part in range(3)] == [None, ONE, ONE]
        await blocking(server.start)
        await until(lambda: [reader.owner(part) for part in range(3)] == [None, ONE, ONE])


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_closing_is_prompt_while_redis_hangs(own_redis: Callable[..., Redis], is_cancelled: bool) -> None:
    server = own_redis()
    settings = settings_for(server, timeout_seconds=30)
    began = trio.current_time()
    with trio.CancelScope() as scope:
        async with open_redis(settings) as client:
            async with open_redis_directory(client, settings.prefix) as gateway:
                gateway.publish(ONE, [0], 1)
                while not await client.call("HGET", f"{settings.prefix}owners", 0):
                    await trio.sleep(0.01)
                server.freeze()
                gateway.publish(ONE, [0, 1], 2)
                await trio.sleep(0.05)
                began = trio.current_time()
                if is_cancelled:
                    scope.cancel()
            assert trio.current_time() - began < PROMPT
    assert trio.current_time() - began < 2 * PROMPT


@asynccontextmanager
async def _open(settings: RedisSettings) -> AsyncIterator[RedisDirectory]:
    """Open the directory as another process does: with a client of its own."""
    async with open_redis(settings) as client, open_redis_directory(client, settings.prefix) as directory:
        yield directory


async def _put(
    client: RedisClient, settings: RedisSettings, partition: int, owner: GatewayAddress, *, epoch: int, seconds: float
) -> None:
    """Store an entry as a gateway does, which no gateway refreshes."""
    now_seconds, microseconds = map(int, await client.call("TIME"))
    until_ms = now_seconds * 1000 + microseconds // 1000 + int(seconds * 1000)
    entry = msgspec.json.encode({"websocket": owner.websocket, "grpc": owner.grpc, "epoch": epoch, "until": until_ms})
    await client.call("HSET", f"{settings.prefix}owners", partition, entry)
    await client.call("PUBLISH", f"{settings.prefix}owners:changes", "test")
