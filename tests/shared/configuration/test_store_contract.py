"""What every configuration store promises."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from shared.configuration import ConfigurationStore, StoredValue

OpenStore = Callable[[], AbstractAsyncContextManager[ConfigurationStore]]

DEADLINE = 5.0
"""Seconds after which a notification is taken for lost."""


async def test_a_new_store_holds_nothing(store: ConfigurationStore) -> None:
    assert dict(await store.load()) == {}


async def test_a_value_that_was_set_is_loaded_with_its_time(store: ConfigurationStore) -> None:
    await store.set("max_text_bytes", "100")
    stored = (await store.load())["max_text_bytes"]
    assert stored == StoredValue("max_text_bytes", "100", stored.changed_at_ms)
    assert stored.changed_at_ms > 1_700_000_000_000


async def test_the_newest_value_holds(store: ConfigurationStore) -> None:
    await store.set("max_text_bytes", "100")
    await store.set("max_text_bytes", "200")
    assert {key: item.value for key, item in (await store.load()).items()} == {"max_text_bytes": "200"}


async def test_a_value_that_was_unset_is_gone(store: ConfigurationStore) -> None:
    await store.set("max_text_bytes", "100")
    await store.unset("max_text_bytes")
    await store.unset("never_set")
    assert dict(await store.load()) == {}


async def test_any_text_comes_back_as_it_was(store: ConfigurationStore) -> None:
    text = '\'; DROP TABLE configuration; --\n"é🙂"'
    await store.set(text, text)
    assert (await store.load())[text].value == text


async def test_values_outlive_the_store(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.set("max_text_bytes", "100")
    async with open_store() as store:
        assert (await store.load())["max_text_bytes"].value == "100"


async def test_a_change_is_told_to_every_watcher(store: ConfigurationStore) -> None:
    with trio.fail_after(DEADLINE):
        async with store.changes() as first, store.changes() as second:
            await store.set("max_text_bytes", "100")
            await anext(first)
            await anext(second)


async def test_unsetting_is_a_change(store: ConfigurationStore) -> None:
    await store.set("max_text_bytes", "100")
    with trio.fail_after(DEADLINE):
        async with store.changes() as changes:
            await store.unset("max_text_bytes")
            await anext(changes)


async def test_many_changes_may_be_told_as_one(store: ConfigurationStore) -> None:
    with trio.fail_after(DEADLINE):
        async with store.changes() as changes:
            for value in range(1, 50):
                await store.set("max_text_bytes", str(value))
            await anext(changes)
            assert (await store.load())["max_text_bytes"].value == "49"


async def test_a_change_by_another_process_is_told(open_store: OpenStore) -> None:
    with trio.fail_after(DEADLINE):
        async with open_store() as store, open_store() as other, store.changes() as changes:
            await other.set("max_text_bytes", "100")
            await anext(changes)
            assert (await store.load())["max_text_bytes"].value == "100"


async def test_a_watcher_that_left_hinders_nobody(store: ConfigurationStore) -> None:
    with trio.fail_after(DEADLINE):
        async with store.changes():
            pass
        async with store.changes() as changes:
            await store.set("max_text_bytes", "100")
            await anext(changes)
