"""What `Live` promises: always the last good value."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

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
    open_live,
    validate,
)
from shared.configuration.live import RETRY_SECONDS
from shared.contract.errors import Unavailable

DEFAULT = LiveConfiguration()


class FakeStore:
    """Keeps values in memory. While `down`, it does not answer; `tell` is all that wakes its watchers."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.down = False
        self.loads = 0
        self._notify, self._changes = trio.open_memory_channel[None](1)

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

    async def tell(self) -> None:
        """Notify, and let whoever listens do what it does."""
        await self._notify.send(None)
        await wait_all_tasks_blocked()


@pytest.fixture
def fake_store() -> FakeStore:
    return FakeStore()


async def test_without_stored_values_the_defaults_hold(fake_store: FakeStore) -> None:
    async with open_live(fake_store) as live:
        assert live.value == DEFAULT


async def test_what_is_stored_holds_from_the_start(fake_store: FakeStore) -> None:
    fake_store.values = {"max_text_bytes": "100"}
    async with open_live(fake_store) as live:
        assert live.value == LiveConfiguration(max_text_bytes=100)


async def test_a_change_arrives(fake_store: FakeStore) -> None:
    async with open_live(fake_store) as live:
        fake_store.values["max_text_bytes"] = "100"
        await fake_store.tell()
        assert live.value.max_text_bytes == 100
        del fake_store.values["max_text_bytes"]
        await fake_store.tell()
        assert live.value == DEFAULT


async def test_an_invalid_stored_value_leaves_the_last_good_one_of_its_key(fake_store: FakeStore) -> None:
    async with open_live(fake_store) as live:
        fake_store.values = {"max_text_bytes": "100"}
        await fake_store.tell()
        fake_store.values = {"max_text_bytes": "-1", "chats_page_size": "7", "nonsense": "1"}
        with structlog.testing.capture_logs() as logs:
            await fake_store.tell()
            await fake_store.tell()
        assert live.value == LiveConfiguration(max_text_bytes=100, chats_page_size=7)
    refused = [entry["key"] for entry in logs if entry["event"] == "configuration_refused"]
    assert refused == ["max_text_bytes", "nonsense"]  # once each, however often it is read


async def test_a_store_that_is_down_at_the_start_gives_the_defaults_until_it_is_back(
    fake_store: FakeStore, autojump_clock: MockClock
) -> None:
    fake_store.down = True
    fake_store.values = {"max_text_bytes": "100"}
    async with open_live(fake_store) as live:
        assert live.value == DEFAULT
        fake_store.down = False
        await trio.sleep(RETRY_SECONDS * 1.5)
        assert live.value.max_text_bytes == 100


async def test_a_store_that_goes_down_leaves_what_was_known(fake_store: FakeStore, autojump_clock: MockClock) -> None:
    fake_store.values = {"max_text_bytes": "100"}
    async with open_live(fake_store, reread_seconds=10) as live:
        fake_store.down = True
        await trio.sleep(60)
        assert live.value.max_text_bytes == 100
        fake_store.down = False
        fake_store.values = {}
        await trio.sleep(RETRY_SECONDS * 1.5)
        assert live.value == DEFAULT


async def test_a_missed_notification_is_made_good_by_reading_again(
    fake_store: FakeStore, autojump_clock: MockClock
) -> None:
    async with open_live(fake_store, reread_seconds=10) as live:
        await wait_all_tasks_blocked()
        fake_store.values = {"max_text_bytes": "100"}
        await trio.sleep(9)
        assert live.value == DEFAULT
        await trio.sleep(2)
        assert live.value.max_text_bytes == 100


async def test_on_change_gets_the_initial_configuration_and_each_change_once(fake_store: FakeStore) -> None:
    fake_store.values = {"log_level": '"warning"'}
    levels: list[str] = []
    async with open_live(fake_store, on_change=lambda live: levels.append(live.log_level)):
        fake_store.values = {"log_level": '"debug"'}
        await fake_store.tell()
        await fake_store.tell()
        fake_store.values = {"log_level": '"loud"'}
        await fake_store.tell()
    assert levels == ["", "warning", "debug"]


async def test_leaving_the_block_stops_reading(fake_store: FakeStore, autojump_clock: MockClock) -> None:
    async with open_live(fake_store, reread_seconds=1):
        pass
    loads = fake_store.loads
    await trio.sleep(10)
    assert fake_store.loads == loads


async def test_what_the_block_raises_comes_out_as_it_is(fake_store: FakeStore) -> None:
    with pytest.raises(KeyError):
        async with open_live(fake_store):
            raise KeyError


def test_a_fixed_one_is_what_it_was_made_of() -> None:
    assert Live.fixed(LiveConfiguration(max_text_bytes=7)).value.max_text_bytes == 7


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("max_text_bytes", "0", "max_text_bytes must be a whole number from 1 to 524288, not '0'"),
        ("max_text_bytes", "abc", "max_text_bytes must be a whole number from 1 to 524288, not 'abc'"),
        ("max_text_bytes", '"5"', "max_text_bytes must be a whole number from 1 to 524288, not '\"5\"'"),
        ("max_text_bytes", "true", "max_text_bytes must be a whole number from 1 to 524288, not 'true'"),
        ("tail_seconds", "NaN", "tail_seconds must be a number from 5 to 3600, not 'NaN'"),
        ("tail_secs", "5", "there is no key 'tail_secs': did you mean 'tail_seconds'?"),
        ("qqq", "5", "there is no key 'qqq'"),
        (
            "log_level",
            "loud",
            "log_level must be debug, info, warning, error, or empty for the level in the settings, not 'loud'",
        ),
        (
            "log_levels",
            "bff:debug",
            "log_levels must be loggers and their levels, such as bff=debug,messaging.gateway=info, 32 at most, "
            "or empty, not 'bff:debug'",
        ),
    ],
)
def test_a_refused_value_names_the_key_and_its_bounds(key: str, text: str, message: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        validate(key, text)
    assert str(caught.value) == message


@given(st.sampled_from(sorted(LiveConfiguration.model_fields)))
def test_every_default_is_valid_as_it_would_be_stored(key: str) -> None:
    default = getattr(DEFAULT, key)
    assert validate(key, json.dumps(default)) == default


@pytest.mark.parametrize("text", ["bff=debug,messaging.gateway=info", '"bff=debug,messaging.gateway=info"'])
def test_a_text_may_be_given_as_it_is_or_as_json(text: str) -> None:
    assert validate("log_levels", text) == "bff=debug,messaging.gateway=info"


@given(st.sampled_from(sorted(LiveConfiguration.model_fields)), st.text())
def test_any_text_is_a_value_or_refused(key: str, text: str) -> None:
    try:
        value = validate(key, text)
    except InvalidConfiguration:
        return
    LiveConfiguration.model_validate({key: value})
