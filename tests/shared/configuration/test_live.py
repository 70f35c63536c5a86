"""`Live` always has the last valid value."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from shared.configuration import (
    Change,
    InvalidConfiguration,
    Live,
    LiveConfiguration,
    StoredValue,
    check_change,
    open_live,
    validate,
)
from shared.configuration.live import RETRY_SECONDS
from shared.contract.errors import Unavailable

DEFAULT = LiveConfiguration()
LEVEL = "debug, info, warning, error, or empty for the level in the settings"
LEVELS = "loggers and their levels, such as bff=debug,messaging.gateway=info, 32 at most, or empty"
TYPES = "* for all, or media types that are found in the content, such as image/*,application/pdf"


class FakeStore:
    """Keeps values in memory. While `down`, it does not answer; only `notify` wakes its watchers."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.down = False
        self.loads = 0
        self._changed, self._changes = trio.open_memory_channel[None](1)

    async def load(self) -> Mapping[str, StoredValue]:
        self.loads += 1
        if self.down:
            raise Unavailable("the fake is down")
        return {key: StoredValue(key, value, 0) for key, value in self.values.items()}

    async def set(self, key: str, value: str, *, by: str = "") -> None:
        self.values[key] = value

    async def unset(self, key: str, *, by: str = "") -> None:
        self.values.pop(key, None)

    async def history(self, *, limit: int, before: int | None = None) -> Sequence[Change]:
        return []

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[None]]:
        if self.down:
            raise Unavailable("the fake is down")
        yield self._changes

    async def notify(self) -> None:
        """Notify the watchers, and wait until they have read the values."""
        await self._changed.send(None)
        await wait_all_tasks_blocked()


@pytest.fixture
def fake_store() -> FakeStore:
    return FakeStore()


async def test_a_stored_value_holds_from_the_start_until_it_changes(fake_store: FakeStore) -> None:
    fake_store.values = {"max_text_bytes": "100"}
    async with open_live(fake_store) as live:
        assert live.value == LiveConfiguration(max_text_bytes=100) == Live.fixed(live.value).value
        fake_store.values["max_text_bytes"] = "200"
        await fake_store.notify()
        assert live.value.max_text_bytes == 200
        del fake_store.values["max_text_bytes"]
        await fake_store.notify()
        assert live.value == DEFAULT


async def test_an_invalid_stored_value_leaves_the_last_good_one_of_its_key(fake_store: FakeStore) -> None:
    async with open_live(fake_store) as live:
        fake_store.values = {"max_text_bytes": "100"}
        await fake_store.notify()
        fake_store.values = {"max_text_bytes": "-1", "chats_page_size": "7", "nonsense": "1"}
        with structlog.testing.capture_logs() as logs:
            await fake_store.notify()
            await fake_store.notify()
        assert live.value == LiveConfiguration(max_text_bytes=100, chats_page_size=7)
    refused = [entry["key"] for entry in logs if entry["event"] == "configuration_refused"]
    assert refused == ["max_text_bytes", "nonsense"]  # once each, however often it is read


async def test_while_the_store_is_down_the_last_values_hold_or_the_defaults(
    fake_store: FakeStore, autojump_clock: MockClock
) -> None:
    fake_store.values = {"max_text_bytes": "100"}
    fake_store.down = True
    async with open_live(fake_store, reread_seconds=10) as live:
        assert live.value == DEFAULT
        fake_store.down = False
        await trio.sleep(RETRY_SECONDS * 1.5)
        assert live.value.max_text_bytes == 100
        fake_store.down = True
        await trio.sleep(60)
        assert live.value.max_text_bytes == 100
        fake_store.down = False
        fake_store.values = {}
        await trio.sleep(RETRY_SECONDS * 1.5)
        assert live.value == DEFAULT


async def test_a_missed_notification_is_made_up_for_by_rereading_until_the_block_ends(
    fake_store: FakeStore, autojump_clock: MockClock
) -> None:
    async with open_live(fake_store, reread_seconds=10) as live:
        await wait_all_tasks_blocked()
        fake_store.values = {"max_text_bytes": "100"}
        await trio.sleep(9)
        assert live.value == DEFAULT
        await trio.sleep(2)
        assert live.value.max_text_bytes == 100
    loads = fake_store.loads
    await trio.sleep(30)
    assert fake_store.loads == loads


async def test_on_change_gets_the_initial_configuration_and_each_change_once(fake_store: FakeStore) -> None:
    fake_store.values = {"log_level": '"warning"'}
    levels: list[str] = []
    async with open_live(fake_store, on_change=lambda live: levels.append(live.log_level)):
        fake_store.values = {"log_level": '"debug"'}
        await fake_store.notify()
        await fake_store.notify()
        fake_store.values = {"log_level": '"loud"'}
        await fake_store.notify()
    assert levels == ["", "warning", "debug"]


@pytest.mark.parametrize(
    ("key", "texts", "message"),
    [
        ("max_text_bytes", ["0", "abc", '"5"', "true"], "{} must be a whole number from 1 to 524288, not {!r}"),
        ("tail_seconds", ["NaN"], "{} must be a number from 5 to 3600, not {!r}"),
        ("tail_secs", ["5"], "there is no key {!r}: did you mean 'tail_seconds'?"),
        ("qqq", ["5"], "there is no key {!r}"),
        ("log_level", ["loud"], f"{{}} must be {LEVEL}, not {{!r}}"),
        ("log_levels", ["bff:debug"], f"{{}} must be {LEVELS}, not {{!r}}"),
        ("allowed_file_types", ["", "*,image/*", "image", "image/png, image/gif"], f"{{}} must be {TYPES}, not {{!r}}"),
    ],
)
def test_a_refused_value_names_the_key_and_its_bounds(key: str, texts: list[str], message: str) -> None:
    for text in texts:
        with pytest.raises(InvalidConfiguration) as caught:
            validate(key, text)
        assert str(caught.value) == message.format(key, text)


def test_every_default_is_valid_as_it_is_stored_and_a_text_without_quotes_too() -> None:
    for key, default in DEFAULT:
        assert validate(key, json.dumps(default)) == default
    assert validate("allowed_file_types", "image/*,application/pdf") == "image/*,application/pdf"
    for text in ("bff=debug,messaging.gateway=info", '"bff=debug,messaging.gateway=info"'):
        assert validate("log_levels", text) == "bff=debug,messaging.gateway=info"


@given(st.sampled_from(sorted(LiveConfiguration.model_fields)), st.text())
def test_any_text_is_a_value_or_refused(key: str, text: str) -> None:
    with suppress(InvalidConfiguration):
        LiveConfiguration.model_validate({key: validate(key, text)})


@pytest.mark.parametrize("key", ["max_text_bytes", "max_frame_bytes"])
def test_a_longest_text_that_does_not_fit_twice_in_a_frame_is_refused_with_both_keys(key: str) -> None:
    check_change(key, LiveConfiguration(max_text_bytes=500_000, max_frame_bytes=1_000_000))
    with pytest.raises(InvalidConfiguration) as caught:
        check_change(key, LiveConfiguration(max_text_bytes=500_000, max_frame_bytes=999_999))
    assert str(caught.value) == "max_frame_bytes (999999) must be at least twice max_text_bytes (500000)"


async def test_stored_values_that_do_not_fit_each_other_permit_larger_frames_and_other_keys_can_be_changed(
    fake_store: FakeStore,
) -> None:
    fake_store.values = {"max_text_bytes": "100000"}
    async with open_live(fake_store) as live:
        assert (live.value.max_text_bytes, live.value.max_frame_bytes) == (100_000, 200_000)
        check_change("tail_seconds", live.value)
