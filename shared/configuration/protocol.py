"""What keeps live configuration: SQLite in the embedded default, Redis when distributed."""

from collections.abc import AsyncIterator, Mapping
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


class ConfigurationStore(Protocol):
    """Keeps values by key, as JSON text, and tells of changes. It does not validate: `Live` does, on both sides."""

    async def load(self) -> Mapping[str, StoredValue]:
        """Every value that is set. Raises Unavailable."""
        ...

    async def set(self, key: str, value: str) -> None:
        """Store a value and tell every watcher. Raises Unavailable."""
        ...

    async def unset(self, key: str) -> None:
        """Forget a value, so that the default holds, and tell every watcher. Raises Unavailable."""
        ...

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """An iterator that yields soon after any change, by any process; several changes may give one."""
        ...
