"""What keeps live configuration: SQLite in the embedded default, Redis when distributed."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


class InvalidConfiguration(Exception):
    """A key or value that the model refuses. The message names the key and its bounds."""


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value that was set, as JSON text."""

    key: str
    value: str
    changed_at_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """A value that was set or unset. Ids rise; `old` and `new` are JSON text, None where the default held or holds."""

    change_id: int
    at_ms: int
    by: str
    """Who made it: `name (user_id)`, or `command:` and the user of the system; empty if that was not said."""
    key: str
    old: str | None
    new: str | None


KEPT_CHANGES = 1_000
"""The newest changes are remembered, so many."""


class ConfigurationStore(Protocol):
    """Keeps values by key, as JSON text, and tells of changes. It does not validate: `Live` does, on both sides."""

    async def load(self) -> Mapping[str, StoredValue]:
        """Every value that is set. Raises Unavailable."""
        ...

    async def set(self, key: str, value: str, *, by: str = "") -> None:
        """Store a value, with the change in one step, and tell every watcher. Raises Unavailable."""
        ...

    async def unset(self, key: str, *, by: str = "") -> None:
        """Forget a value, so that the default holds, and tell every watcher. It is a change if there was one. Raises
        Unavailable."""
        ...

    async def history(self, *, limit: int, before: int | None = None) -> Sequence[Change]:
        """The newest changes, or the newest before the one with this id; the newest first. Raises Unavailable."""
        ...

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """An iterator that yields soon after any change, by any process; several changes may give one."""
        ...
