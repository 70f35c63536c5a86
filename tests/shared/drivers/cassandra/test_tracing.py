"""Spans of statements name their operations and tables, and contain no value."""

from typing import Any, cast

import pytest
from cassandra.query import BatchStatement, PreparedStatement

from shared.drivers.cassandra.tracing import described


def prepared(cql: str) -> PreparedStatement:
    """A prepared statement with nothing but its text."""
    statement = PreparedStatement.__new__(PreparedStatement)
    cast(Any, statement).query_string = cql
    return statement


READ = prepared("\n    SELECT name, about FROM users\n    WHERE user_id = ?\n")
OTHER_READ = prepared("SELECT other_id FROM connections_by_user WHERE user_id = ?")
WRITE = prepared("insert into users (user_id, name) values (?, ?)")


def test_one_statement_has_its_text() -> None:
    assert described([READ], "rookery") == (
        "SELECT users",
        {
            "db.system.name": "cassandra",
            "db.operation.name": "SELECT",
            "db.namespace": "rookery",
            "db.collection.name": "users",
            "db.query.text": "SELECT name, about FROM users WHERE user_id = ?",
        },
    )


def test_equal_statements_are_one_with_a_batch_size() -> None:
    name, attributes = described([READ] * 7, None)
    assert (name, attributes["db.operation.batch.size"]) == ("SELECT users", 7)
    assert attributes["db.collection.name"] == "users"
    assert "db.namespace" not in attributes


@pytest.mark.parametrize(
    ("statements", "name", "operation"),
    [
        ([READ, OTHER_READ], "SELECT users, SELECT connections_by_user", "SELECT"),
        ([READ, WRITE], "SELECT users, INSERT users", "BATCH"),
        ([WRITE], "INSERT users", "INSERT"),
        (["DELETE FROM users WHERE name = 'secret'"], "BATCH", "BATCH"),
        ([BatchStatement()], "BATCH", "BATCH"),
        ([], "BATCH", "BATCH"),
    ],
)
def test_different_statements_are_named_by_their_operations(statements: Any, name: str, operation: str) -> None:
    actual, attributes = described(statements, "rookery")
    assert (actual, attributes["db.operation.name"]) == (name, operation)
    assert "secret" not in str(attributes)


def test_a_batch_counts_its_statements() -> None:
    batch = BatchStatement()
    for _ in range(3):
        batch.add("INSERT INTO users (name) VALUES ('secret')")
    _, attributes = described([batch, READ], "rookery")
    assert attributes["db.operation.batch.size"] == 4
    assert "secret" not in str(attributes)
