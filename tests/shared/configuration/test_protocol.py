"""Every configuration store: values, changes, and their history."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from shared.configuration import ConfigurationStore, StoredValue
from shared.configuration.protocol import KEPT_CHANGES
from tests.waiting import PATIENCE

OpenStore = Callable[[], AbstractAsyncContextManager[ConfigurationStore]]


async def test_the_newest_value_is_loaded_with_its_time_until_it_is_unset(store: ConfigurationStore) -> None:
    assert dict(await store.load()) == {}
    for value in ("100", "200"):
        await store.set("max_text_bytes", value)
    (stored,) = (await store.load()).values()
    assert stored == StoredValue("max_text_bytes", "200", stored.changed_at_ms)
    assert stored.changed_at_ms > 1_700_000_000_000
    await store.unset("max_text_bytes")
    await store.unset("never_set")
    assert dict(await store.load()) == {}


async def test_a_change_by_any_process_notifies_every_watcher(open_store: OpenStore) -> None:
    with trio.fail_after(PATIENCE):
        async with open_store() as store, open_store() as other, store.changes() as first:
            async with store.changes():
                pass  # a watcher that left delays no other
            async with store.changes() as second:
                for change in (store.set("max_text_bytes", "100"), other.set("max_text_bytes", "200")):
                    await change
                    await anext(first)
                    await anext(second)
            await other.unset("max_text_bytes")
            await anext(first)
            assert dict(await store.load()) == {}


async def test_many_changes_are_coalesced(store: ConfigurationStore) -> None:
    with trio.fail_after(PATIENCE):
        async with store.changes() as changes:
            for value in range(1, 50):
                await store.set("max_text_bytes", str(value))
            await anext(changes)
            assert (await store.load())["max_text_bytes"].value == "49"


# ---- history


async def test_each_change_is_stored_with_its_author_and_the_former_value(store: ConfigurationStore) -> None:
    await store.set("max_text_bytes", "100", by="ada (7)")
    await store.set("max_text_bytes", "200", by="command:root")
    for _ in range(2):  # the second changes nothing
        await store.unset("max_text_bytes", by="ada (7)")
    newest_first = await store.history(limit=10)
    assert [(change.by, change.key, change.old, change.new) for change in newest_first] == [
        ("ada (7)", "max_text_bytes", "200", None),
        ("command:root", "max_text_bytes", "100", "200"),
        ("ada (7)", "max_text_bytes", None, "100"),
    ]
    assert all(change.at_ms > 1_700_000_000_000 for change in newest_first)


async def test_pages_of_the_history_neither_skip_nor_repeat(store: ConfigurationStore) -> None:
    for value in range(7):
        await store.set("max_text_bytes", str(value))
    seen: list[str | None] = []
    before: int | None = None
    while page := await store.history(limit=3, before=before):
        seen += [change.new for change in page]
        before = page[-1].change_id
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


async def test_any_text_comes_back_as_it_was(store: ConfigurationStore) -> None:
    text = '\'; DROP TABLE configuration; --\n"é🙂"'
    await store.set(text, text, by=text)
    assert (await store.load())[text].value == text
    await store.unset(text, by="")
    newest, oldest = await store.history(limit=10)
    assert (oldest.by, oldest.key, oldest.old, oldest.new) == (text, text, None, text)
    assert (newest.by, newest.key, newest.old, newest.new) == ("", text, text, None)


async def test_the_newest_thousand_changes_are_kept(store: ConfigurationStore) -> None:
    async with trio.open_nursery() as nursery:
        for value in range(KEPT_CHANGES + 5):
            nursery.start_soon(store.set, "max_text_bytes", str(value))
            if value % 100 == 0:
                await store.load()  # lets the engine keep up
    kept = await store.history(limit=2 * KEPT_CHANGES)
    assert len(kept) == KEPT_CHANGES
    ids = [change.change_id for change in kept]
    assert ids == sorted(ids, reverse=True)
    assert ids[0] - ids[-1] == KEPT_CHANGES - 1


async def test_values_and_their_history_outlive_the_store(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.set("max_text_bytes", "100")
    async with open_store() as store, open_store() as other:
        assert (await store.load())["max_text_bytes"].value == "100"
        await other.set("max_text_bytes", "200")
        assert [(change.old, change.new) for change in await store.history(limit=10)] == [("100", "200"), (None, "100")]
