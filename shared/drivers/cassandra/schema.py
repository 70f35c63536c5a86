"""The numbered scripts that make the schema, and the check that a keyspace has exactly those of this program."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from messaging.archive.store.cassandra.schema import CHATS_SCHEMA
from shared.accounts.cassandra.schema import ACCOUNTS_SCHEMA, ADMIN_SCHEMA
from shared.contract.errors import Unavailable

if TYPE_CHECKING:
    from shared.drivers.cassandra.session import CassandraSession

PROBE = "SELECT number FROM {keyspace}.schema_migrations WHERE number = 1"
"""What is asked for a sign of life: at the consistency of everything else."""

_TABLE = "SELECT id FROM system_schema.tables WHERE keyspace_name = '{keyspace}' AND table_name = 'schema_migrations'"
_APPLIED = "SELECT number, checksum FROM {keyspace}.schema_migrations"


@dataclass(frozen=True, slots=True)
class Migration:
    """A step of the schema. Once released it is never changed: what is to change goes into a new one."""

    number: int
    name: str
    script: tuple[str, ...]
    """Statements that do no harm if they are executed again, such as CREATE TABLE IF NOT EXISTS."""

    @property
    def checksum(self) -> str:
        return hashlib.sha256("\0".join(self.script).encode()).hexdigest()


MIGRATIONS = (
    Migration(1, "chats", CHATS_SCHEMA),
    Migration(2, "accounts", ACCOUNTS_SCHEMA),
    Migration(3, "admin", ADMIN_SCHEMA),
)


async def check_schema(session: "CassandraSession", keyspace: str) -> None:
    """Raises Unavailable unless the keyspace has all migrations of this program and no others."""
    applied = await applied_migrations(session, keyspace)
    refuse_other_schema(applied, keyspace)
    if applied is None or len(applied) < len(MIGRATIONS):
        have = "is missing" if not applied else f"is older than this program (at {max(applied)} of {len(MIGRATIONS)})"
        raise Unavailable(f"the schema in the keyspace {keyspace} {have}: run `rookery migrate`")


async def applied_migrations(session: "CassandraSession", keyspace: str) -> dict[int, str] | None:
    """By number, the checksums of the migrations that were applied; None if there is no such keyspace or table."""
    if not await session.execute(_TABLE.format(keyspace=keyspace)):
        return None
    return dict(await session.execute(_APPLIED.format(keyspace=keyspace)))


def refuse_other_schema(applied: dict[int, str] | None, keyspace: str) -> None:
    """Raises Unavailable if migrations were applied that this program does not have."""
    known = {migration.number: migration for migration in MIGRATIONS}
    for number, checksum in sorted((applied or {}).items()):
        if number not in known:
            raise Unavailable(
                f"the schema in the keyspace {keyspace} is newer than this program (at {max(applied or {})} of "
                f"{len(MIGRATIONS)}): run a newer rookery"
            )
        if checksum != known[number].checksum:
            raise Unavailable(
                f"migration {number} ({known[number].name}) of the keyspace {keyspace} is not the one of this program"
            )
