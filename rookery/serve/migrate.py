"""`rookery migrate`: makes ready what the distributed engines must have before any process starts."""

from shared.settings import Settings


async def migrate_engines(settings: Settings) -> list[str]:
    """Make topics, keyspace and tables that are missing, and say in words what was done.

    Safe to do again, and by several at once. The embedded engines need nothing. Raises Unavailable.
    """
    done: list[str] = []
    if "kafka" in settings.engines:
        from shared.backplane.kafka.topics import migrate_topics

        await migrate_topics(settings.kafka)
        done.append(f"the topics {settings.kafka.topic} and {settings.kafka.dead_letter_topic} are there")
    if "cassandra" in settings.engines:
        from rookery.serve.schema import MIGRATIONS
        from shared.drivers.cassandra.migrations import migrate

        applied = await migrate(settings.cassandra, MIGRATIONS)
        news = f", now with migration {', '.join(map(str, applied))}" if applied else ""
        done.append(f"the keyspace {settings.cassandra.keyspace} is there{news}")
    return done
