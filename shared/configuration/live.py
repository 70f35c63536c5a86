"""The live configuration in a process: always the last valid values, updated as the store changes."""

import difflib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pydantic_core
import structlog
import trio
from annotated_types import Ge, Le
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from shared.background import open_background
from shared.configuration.model import AllowedText, LiveConfiguration, Value
from shared.configuration.protocol import ConfigurationStore, InvalidConfiguration, StoredValue
from shared.contract.errors import Unavailable

REREAD_SECONDS = 30.0
"""Interval at which everything is read again, in case a notification was missed."""

RETRY_SECONDS = 1.0
"""Pause before the next attempt after a store did not answer."""

OnChange = Callable[[LiveConfiguration], None]
"""Called with the initial configuration, and with each changed one."""

_log = structlog.get_logger(__name__)


def ignore_change(_: LiveConfiguration) -> None:
    """The default `OnChange`, for code that reads the values when it needs them."""


class Live:
    """The current configuration. Made by `open_live`, or by `Live.fixed` where nothing changes."""

    def __init__(self, value: LiveConfiguration, on_change: OnChange = ignore_change) -> None:
        self._value = value
        self._on_change = on_change
        self._refused: dict[str, str] = {}

    @classmethod
    def fixed(cls, value: LiveConfiguration) -> "Live":
        """Return a configuration that never changes."""
        return cls(value)

    @property
    def value(self) -> LiveConfiguration:
        """The current configuration. Read it at each use, since it changes."""
        return self._value

    def apply(self, stored: Mapping[str, StoredValue]) -> None:
        """Apply the stored values. An invalid one is logged, and the last valid value of its key stays."""
        values: dict[str, Value] = {}
        refused: dict[str, str] = {}
        for key, item in stored.items():
            try:
                values[key] = validate(key, item.value)
            except InvalidConfiguration as error:
                refused[key] = item.value
                if key in LiveConfiguration.model_fields:
                    values[key] = getattr(self._value, key)
                if self._refused.get(key) != item.value:
                    _log.error("configuration_refused", key=key, reason=str(error))
        self._refused = refused
        value = LiveConfiguration.model_validate(values)
        if (frame := 2 * value.max_text_bytes) > value.max_frame_bytes:  # see check_change
            value = value.model_copy(update={"max_frame_bytes": frame})
        if value != self._value:
            _log.info("configuration_changed", **changed_values(self._value, value))
            self._value = value
            self._on_change(value)


def changed_values(old: LiveConfiguration, new: LiveConfiguration) -> dict[str, Any]:
    """Return the new values of the keys whose values differ."""
    return {key: value for key, value in new.model_dump().items() if value != getattr(old, key)}


def validate(key: str, text: str) -> Value:
    """Parse the value of a key from JSON; for a key whose value is text, the text itself is accepted too.

    Raises InvalidConfiguration, whose message names the key and the permitted values.
    """
    field = LiveConfiguration.model_fields.get(key)
    if field is None:
        near = difflib.get_close_matches(key, LiveConfiguration.model_fields, n=1)
        raise InvalidConfiguration(f"there is no key {key!r}" + (f": did you mean {near[0]!r}?" if near else ""))
    try:
        value = _parse(field, text)
        checked = LiveConfiguration.__pydantic_validator__.validate_python({key: value}, strict=True)
    except (ValueError, ValidationError) as error:
        raise InvalidConfiguration(f"{key} must be {describe(field)}, not {text[:40]!r}") from error
    return cast(Value, getattr(checked, key))


def check_change(key: str, changed: LiveConfiguration) -> None:
    """Check whether the new value of a key, in a whole configuration, fits the others.

    Quotes and line breaks of a text take two bytes each in a JSON frame: if that exceeds the limit of frames, a
    permitted text ends its session. Two changes at once may pass each other's check, and values that are stored already
    may not fit: `Live` then permits larger frames, until one is changed.
    Raises InvalidConfiguration, whose message names both keys and their values.
    """
    text, frame = changed.max_text_bytes, changed.max_frame_bytes
    if key in ("max_text_bytes", "max_frame_bytes") and 2 * text > frame:
        raise InvalidConfiguration(f"max_frame_bytes ({frame}) must be at least twice max_text_bytes ({text})")


def describe(field: FieldInfo) -> str:
    """Describe the permitted values in words: `a whole number from 1 to 100`."""
    if field.annotation is str:
        return next(allowed.text for allowed in field.metadata if isinstance(allowed, AllowedText))
    low = next(bound.ge for bound in field.metadata if isinstance(bound, Ge))
    high = next(bound.le for bound in field.metadata if isinstance(bound, Le))
    return f"a {'whole number' if field.annotation is int else 'number'} from {low} to {high}"


def _parse(field: FieldInfo, text: str) -> object:
    """Raises ValueError."""
    if field.annotation is not str:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    try:
        value = pydantic_core.from_json(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


@asynccontextmanager
async def open_live(
    store: ConfigurationStore, *, on_change: OnChange = ignore_change, reread_seconds: float = REREAD_SECONDS
) -> AsyncIterator[Live]:
    """Load the configuration and keep it up to date while the block is open.

    `on_change` is called with the initial configuration and with each change. A store that does not answer is no error:
    the defaults, or the last known values, stay in force until it does.
    """
    live = Live(LiveConfiguration(), on_change)
    on_change(live.value)
    try:
        live.apply(await store.load())
    except Unavailable as error:
        _log.warning("configuration_unavailable", error=str(error))
    async with open_background() as nursery:
        nursery.start_soon(_follow, live, store, reread_seconds)
        yield live


async def _follow(live: Live, store: ConfigurationStore, reread_seconds: float) -> None:
    while True:
        try:
            async with store.changes() as changes:  # before the load, so that no change is missed
                while True:
                    live.apply(await store.load())
                    with trio.move_on_after(reread_seconds):
                        await anext(changes)
        except Unavailable as error:
            _log.warning("configuration_unavailable", error=str(error))
        await trio.sleep(RETRY_SECONDS)
