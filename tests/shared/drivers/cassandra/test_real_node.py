"""A session on a real node: results, values, cancellation at every step, and the threads that it leaves (none)."""

from collections.abc import Callable

import pytest
import trio
from cassandra.query import BatchStatement

from rookery.serve.schema import MIGRATIONS
from shared.contract.errors import Unavailable
from shared.drivers.cassandra import open_cassandra, unlogged
from shared.drivers.cassandra.session import CassandraSession
from shared.settings import CassandraSettings
from tests.stepping import cancel_at_step

ADD = "INSERT INTO messages_by_chat (chat_id, bucket, message_id, sender_id, message) VALUES (?, ?, ?, ?, ?)"
READ = "SELECT message_id, message FROM messages_by_chat WHERE chat_id = ? AND bucket = ?"


async def add(session: CassandraSession, chat_id: str, count: int, size: int) -> None:
    insert = await session.prepare(ADD)
    await session.execute_all([(insert, (chat_id, 0, n, 1, bytes(size))) for n in range(count)])


async def test_rows_are_tuples_over_all_pages(
    cassandra_settings: CassandraSettings,
) -> None:
    async with open_cassandra(cassandra_settings, MIGRATIONS) as session:
        session._driver.default_fetch_size = 500  # rows of a page
        await add(session, "pages", 600, 1)
        rows = await session.execute(await session.prepare(READ), ("pages", 0))
    assert sorted(rows) == [(n, b"\0") for n in range(600)]


async def test_a_statement_is_prepared_once_and_one_with_a_condition_never_sent_twice(
    cassandra_settings: CassandraSettings,
) -> None:
    async with open_cassandra(cassandra_settings, MIGRATIONS) as session:
        plain = await session.prepare(ADD)
        conditional = await session.prepare(ADD + "\nIF NOT EXISTS")
        assert await session.prepare(ADD) is plain
    assert plain.is_idempotent
    assert not conditional.is_idempotent
    row = "idempotent", 0, 1, 1, b""
    assert unlogged([(plain, row)]).is_idempotent
    assert not unlogged([(plain, row), (conditional, row)]).is_idempotent


async def test_only_tables_whose_rows_are_checked_forget_removals_after_a_day(
    cassandra_settings: CassandraSettings,
) -> None:
    tables = "SELECT table_name, gc_grace_seconds FROM system_schema.tables WHERE keyspace_name = '{}'"
    async with open_cassandra(cassandra_settings, MIGRATIONS) as session:
        found: dict[str, int] = dict(await session.execute(tables.format(cassandra_settings.keyspace)))
    short = {name for name, seconds in found.items() if seconds < 10 * 86_400}
    indexes = {"families_by_user", "names_by_trigram", "relationships_by_user", "public_chats_by_trigram"}
    assert short == indexes | {"chat_heads"}
    assert {found[name] for name in short} == {86_400}


async def test_invalid_values_are_refused_and_nothing_is_written(
    cassandra_settings: CassandraSettings,
) -> None:
    async with open_cassandra(cassandra_settings, MIGRATIONS) as session:
        insert = await session.prepare(ADD)
        good, bad = ("bad", 0, 1, 1, b""), ("bad", 0, 2**70, 1, b"")
        with pytest.raises(ValueError, match="value"):
            await session.execute_all([(insert, good), (insert, bad)])
        with pytest.raises(ValueError, match="value"):
            unlogged([(insert, good), (insert, ("bad", 0, "one", 1, b""))])
        with pytest.raises(ValueError, match="value"):
            await session.execute(insert, ("x" * 70_000, 0, 1, 1, b""))
        assert await session.execute(await session.prepare(READ), ("bad", 0)) == []


async def test_a_statement_that_a_node_refuses_is_no_error_of_the_values(cassandra_settings: CassandraSettings) -> None:
    async with open_cassandra(cassandra_settings, MIGRATIONS) as session:
        with pytest.raises(Unavailable, match="refuses"):
            await session.execute("SELECT number FROM schema_migrations WHERE number = 'one'")
        with pytest.raises(Unavailable, match="refuses"):
            await session.prepare("SELECT nothing FROM nowhere")


async def test_a_burst_larger_than_the_socket_takes_is_no_error(
    cassandra_settings: CassandraSettings,
) -> None:
    """Where the driver reports a busy connection, and loses a stream for each such request."""
    async with open_cassandra(cassandra_settings, MIGRATIONS) as session:
        await add(session, "burst", 200, 100_000)
        assert session.statistics().under_way == 0
        assert len(await session.execute(await session.prepare(READ), ("burst", 0))) == 200


async def test_a_batch_for_one_partition_may_be_larger_than_the_limit_for_several(
    cassandra_settings: CassandraSettings,
) -> None:
    async with open_cassandra(cassandra_settings, MIGRATIONS) as session:
        insert = await session.prepare(ADD)

        def batch(chats: list[str]) -> BatchStatement:
            return unlogged([(insert, (chat, 0, n, 1, bytes(10_000))) for n in range(20) for chat in chats])

        await session.execute(batch(["one"]))
        assert len(await session.execute(await session.prepare(READ), ("one", 0))) == 20
        with pytest.raises(Unavailable, match="Batch too large"):
            await session.execute(batch(["one", "two"]))


async def test_cancelled_at_any_step_it_closes_at_once_and_leaves_nothing(
    cassandra_settings: CassandraSettings, no_thread_stays: Callable[[], list[str]]
) -> None:
    async def use() -> None:
        async with open_cassandra(cassandra_settings, MIGRATIONS) as session:
            read = await session.prepare(READ)
            await session.execute_all([(read, ("none", n)) for n in range(10)])
            assert no_thread_stays()

    step, this = 1, trio.lowlevel.current_task()
    while await cancel_at_step(step, lambda task: task is this, use):
        step += 1
    assert step > 5


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"local_datacenter": "mars"}, "data centre mars"),
        ({"hosts": ("no-such-host.invalid",)}, r"no-such-host\.invalid"),
    ],
)
async def test_a_wrong_host_or_data_centre_is_named(
    cassandra_settings: CassandraSettings, wrong: dict[str, object], named: str
) -> None:
    with pytest.raises(Unavailable, match=named):
        async with open_cassandra(cassandra_settings.model_copy(update=wrong), MIGRATIONS):
            pass
