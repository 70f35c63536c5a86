"""`rookery migrate`: creates and upgrades the topics and tables of the distributed engines; processes of the former
release may be running."""

from shared.settings import Settings


async def migrate_engines(settings: Settings, *, is_last: bool = False) -> list[str]:
    """Create missing topics, keyspace and tables, convert rows of the former release, and return lines that describe
    the result. `is_last`: no process of the former release runs any more, so that no later run has to convert rows.

    Idempotent, and safe in several processes at once. The embedded engines need nothing. Raises Unavailable.
    """
    done: list[str] = []
    if "kafka" in settings.engines:
        from shared.backplane.kafka.topics import migrate_topics

        await migrate_topics(settings.kafka)
        done.append(f"the topics {settings.kafka.topic} and {settings.kafka.dead_letter_topic} exist")
    if "cassandra" in settings.engines:
        from rookery.serve.schema import FILLS, MIGRATIONS
        from shared.drivers.cassandra.migrations import migrate

        applied = await migrate(settings.cassandra, MIGRATIONS, FILLS, is_last=is_last)
        suffix = f", now with migration {', '.join(map(str, applied))}" if applied else ""
        done.append(f"the keyspace {settings.cassandra.keyspace} exists{suffix}")
    return done
