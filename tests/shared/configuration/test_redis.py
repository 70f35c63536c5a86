"""Live configuration while Redis fails and returns."""

from collections.abc import Callable

import trio

from shared.configuration import LiveConfiguration, StoredValue, open_live
from shared.configuration.redis import open_redis_configuration
from shared.drivers.redis import open_redis
from tests.shared.drivers.redis_clients import blocking, settings_for
from tests.waiting import until
from tools.engines.redis import DURABLE, Redis


async def test_while_redis_is_away_the_last_values_hold_or_the_defaults_and_later_changes_arrive_with_it(
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
        await until(lambda: live.value.max_text_bytes == 100)
        await blocking(server.kill)
        async with (
            open_redis(settings) as other_client,
            open_redis_configuration(other_client, settings.prefix) as other_store,
            open_live(other_store) as other,
        ):
            await trio.sleep(0.2)
            assert (live.value.max_text_bytes, other.value) == (100, LiveConfiguration())
            await blocking(server.start)
            await until(lambda: other.value.max_text_bytes == 100)
            await store.set("max_text_bytes", "200")
            await until(lambda: live.value.max_text_bytes == other.value.max_text_bytes == 200)


async def test_a_value_that_a_person_stored_by_hand_is_validated(redis_server: Redis) -> None:
    settings = settings_for(redis_server)
    async with open_redis(settings) as client, open_redis_configuration(client, settings.prefix) as store:
        await client.call("HSET", f"{settings.prefix}configuration", "max_text_bytes", "100", "tail_seconds", b"\xff")
        stored = await store.load()
        assert stored["max_text_bytes"] == StoredValue("max_text_bytes", "100", 0)
        async with open_live(store) as live:
            assert live.value == LiveConfiguration(max_text_bytes=100)
