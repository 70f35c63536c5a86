"""A keyspace's schema as numbered migrations, and the check that the keyspace has exactly this program's migrations."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.contract.errors import Unavailable

PROBE = "SELECT number FROM {keyspace}.schema_migrations WHERE number = 1"
"""The query that probes a silent Cassandra, at the consistency of every other query."""

_TABLE = "SELECT id FROM system_schema.tables WHERE keyspace_name = '{keyspace}' AND table_name = 'schema_migrations'"
_APPLIED = "SELECT number, checksum FROM {keyspace}.schema_migrations"

Execute = Callable[[str], Awaitable[list[tuple[Any, ...]]]]
"""Executes a CQL statement and returns its rows."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A step of the schema. It is never changed once released: a change is a new migration."""

    number: int
    """The numbers begin with 1 and have no hole."""
    name: str
    script: tuple[str, ...]
    """Statements that may be executed again without harm, such as CREATE TABLE IF NOT EXISTS."""

    @property
    def checksum(self) -> str:
        return hashlib.sha256("\0".join(self.script).encode()).hexdigest()


async def check_schema(execute: Execute, keyspace: str, migrations: Sequence[Migration]) -> None:
    """Raise Unavailable unless the keyspace has all of these migrations and no others."""
    applied = await applied_migrations(execute, keyspace)
    refuse_other_schema(applied, keyspace, migrations)
    if applied is None or len(applied) < len(migrations):
        have = "is missing" if not applied else f"is older than this program (at {max(applied)} of {len(migrations)})"
        raise Unavailable(f"the schema in the keyspace {keyspace} {have}: run `rookery migrate`")


async def applied_migrations(execute: Execute, keyspace: str) -> dict[int, str] | None:
    """Return the checksums of the applied migrations by number; None if the keyspace or its table is missing."""
    if not await execute(_TABLE.format(keyspace=keyspace)):
        return None
    return dict(await execute(_APPLIED.format(keyspace=keyspace)))


def refuse_other_schema(applied: dict[int, str] | None, keyspace: str, migrations: Sequence[Migration]) -> None:
    """Raise Unavailable if a migration was applied that this program lacks or that differs from this program's."""
    by_number = {migration.number: migration for migration in migrations}
    for number, checksum in sorted((applied or {}).items()):
        if number not in by_number:
            raise Unavailable(
                f"the schema in the keyspace {keyspace} is newer than this program (at {max(applied or {})} of "
                f"{len(migrations)}): run a newer rookery"
            )
        if checksum != by_number[number].checksum:
            name = by_number[number].name
            raise Unavailable(f"migration {number} ({name}) of the keyspace {keyspace} is not the one of this program")
