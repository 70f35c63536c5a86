"""The store of the live configuration: SQLite in the embedded default, Redis in the distributed mode."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


class InvalidConfiguration(Exception):
    """The model rejects a key or value. The message names the key and its bounds; correct the value."""


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A stored value, as JSON text."""

    key: str
    value: str
    changed_at_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """A value that was set or unset. Ids increase; `old` and `new` are JSON text, None for the default."""

    change_id: int
    at_ms: int
    by: str
    """The author: `name (user_id)`, or `command:` and the user of the system; empty if unknown."""
    key: str
    old: str | None
    new: str | None


KEPT_CHANGES = 1_000
"""Number of changes in the history; older ones are deleted."""


class ConfigurationStore(Protocol):
    """Stores values by key, as JSON text, and notifies of changes. It does not validate: `validate` and `Live` do."""

    async def load(self) -> Mapping[str, StoredValue]:
        """Return every stored value by key. Raises Unavailable."""
        ...

    async def set(self, key: str, value: str, *, by: str = "") -> None:
        """Store a value and its change atomically, and notify every watcher. Raises Unavailable."""
        ...

    async def unset(self, key: str, *, by: str = "") -> None:
        """Remove a value, so that the default applies, and notify every watcher. Without a stored value no change is
        recorded. Raises Unavailable."""
        ...

    async def history(self, *, limit: int, before: int | None = None) -> Sequence[Change]:
        """Return the newest changes, or the newest before this id, the newest first. Raises Unavailable."""
        ...

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """Open an iterator that yields soon after a change by any process; changes may be coalesced."""
        ...
