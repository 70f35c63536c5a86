"""The kinds of engines that the platform runs on; everything in `tools/` and `tests/` that lists them follows this."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_type_hints

from tools.engines.cassandra import Cassandra
from tools.engines.engine import HOST, Engine, Options
from tools.engines.kafka import Kafka
from tools.engines.redis import Redis


@dataclass(frozen=True, slots=True)
class Engines:
    """An engine of each kind. A further kind is a further field: its name is the engine's, its type the class."""

    kafka: Kafka
    cassandra: Cassandra
    redis: Redis

    def __iter__(self) -> Iterator[Engine]:
        return (getattr(self, name) for name in KINDS)

    @classmethod
    def in_folder(cls, folder: Path, options: Mapping[str, Options], host: str = HOST) -> Self:
        """Engines that are not started yet, with a folder each. `options` are by the engine's name."""
        made: dict[str, Any] = {name: kind(folder / name, options.get(name), host=host) for name, kind in KINDS.items()}
        return cls(**made)


KINDS: dict[str, type[Engine]] = get_type_hints(Engines)
