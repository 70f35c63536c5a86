"""What live configuration promises when Redis comes and goes."""

from collections.abc import Callable

import trio

from shared.configuration import LiveConfiguration, StoredValue, open_live
from shared.configuration.redis import open_redis_configuration
from shared.drivers.redis import open_redis
from tests.shared.drivers.redis_clients import DEADLINE, blocking, eventually, settings_for
from tools.engines.redis import DURABLE, Redis


async def test_while_redis_is_away_the_last_values_hold_and_what_changed_meanwhile_arrives_with_it(
    own_redis: Callable[..., Redis],
) -> None:
    server = own_redis(DURABLE)
    settings = settings_for(server)
    async with (
        open_redis(settings) as client,
        open_redis_configuration(client, settings.prefix) as store,
        open_live(store) as live,
    ):
        await store.set("max_text_bytes", "100")
        await eventually(lambda: live.value.max_text_bytes == 100)
        await blocking(server.kill)
        await trio.sleep(0.2)
        assert live.value.max_text_bytes == 100
        await blocking(server.start)
        await store.set("max_text_bytes", "200")
        await eventually(lambda: live.value.max_text_bytes == 200)


async def test_if_redis_is_away_at_the_start_the_defaults_hold_until_it_is_there(
    own_redis: Callable[..., Redis],
) -> None:
    server = own_redis(DURABLE)
    settings = settings_for(server)
    async with open_redis(settings) as client, open_redis_configuration(client, settings.prefix) as store:
        await store.set("max_text_bytes", "100")
    await blocking(server.kill)
    async with (
        open_redis(settings) as client,
        open_redis_configuration(client, settings.prefix) as store,
        open_live(store) as live,
    ):
        assert live.value == LiveConfiguration()
        await blocking(server.start)
        await eventually(lambda: live.value.max_text_bytes == 100)


async def test_a_new_connection_counts_as_a_change_since_one_may_have_been_missed(
    own_redis: Callable[..., Redis],
) -> None:
    server = own_redis()
    settings = settings_for(server)
    async with open_redis(settings) as client, open_redis_configuration(client, settings.prefix) as store:
        await eventually(lambda: client.connections == 1)
        async with store.changes() as changes:
            await blocking(server.kill)
            await blocking(server.start)
            with trio.fail_after(DEADLINE):
                await anext(changes)


async def test_what_a_person_put_there_by_hand_is_a_value_to_validate(redis_server: Redis) -> None:
    settings = settings_for(redis_server)
    async with open_redis(settings) as client, open_redis_configuration(client, settings.prefix) as store:
        await client.call("HSET", f"{settings.prefix}configuration", "max_text_bytes", "100", "tail_seconds", b"\xff")
        stored = await store.load()
        assert stored["max_text_bytes"] == StoredValue("max_text_bytes", "100", 0)
        async with open_live(store) as live:
            assert live.value == LiveConfiguration(max_text_bytes=100)
