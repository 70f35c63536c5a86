"""What a process holds of the live configuration: always the last good value, followed as it changes."""

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
"""How often to read everything again, in case a notification was missed."""

RETRY_SECONDS = 1.0
"""How long to wait before asking a store again that did not answer."""

OnChange = Callable[[LiveConfiguration], None]
"""Is told what holds: at first, and whenever it has changed."""

_log = structlog.get_logger(__name__)


def ignore_change(_: LiveConfiguration) -> None:
    """Follow ignore_change: the values are read when they are needed."""


class Live:
    """Made by `open_live`, or by `Live.fixed` where ignore_change changes."""

    def __init__(self, value: LiveConfiguration, on_change: OnChange = ignore_change) -> None:
        self._value = value
        self._on_change = on_change
        self._refused: dict[str, str] = {}

    @classmethod
    def fixed(cls, value: LiveConfiguration) -> "Live":
        """One that never changes."""
        return cls(value)

    @property
    def value(self) -> LiveConfiguration:
        """The configuration as it is now. Read it each time: it changes."""
        return self._value

    def apply(self, stored: Mapping[str, StoredValue]) -> None:
        """Take over what is stored. What is invalid is refused and logged: the last good value of that key stays."""
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
        if value != self._value:
            _log.info("configuration_changed", **changed_values(self._value, value))
            self._value = value
            self._on_change(value)


def changed_values(old: LiveConfiguration, new: LiveConfiguration) -> dict[str, Any]:
    """The keys whose values differ, with their new values."""
    return {key: value for key, value in new.model_dump().items() if value != getattr(old, key)}


def validate(key: str, text: str) -> Value:
    """The value that `text` sets for `key`: JSON, or, for a key whose value is text, that text as it is.

    Raises InvalidConfiguration, whose message names the key and what it may be.
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


def describe(field: FieldInfo) -> str:
    """What a value may be, in allowed: `a whole number from 1 to 100`."""
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
    """Load the configuration and follow its changes while the block is open.

    `on_change` is told of each, and of what holds at first. A store that does not answer is no error: the defaults
    hold, or what was last known, until it does.
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
            async with store.changes() as changes:  # before it is read, so that no change is missed
                while True:
                    live.apply(await store.load())
                    with trio.move_on_after(reread_seconds):
                        await anext(changes)
        except Unavailable as error:
            _log.warning("configuration_unavailable", error=str(error))
        await trio.sleep(RETRY_SECONDS)
