"""Span names and attributes of statements: the operation, the table, and the text without values."""

import re
from collections.abc import Sequence

from cassandra.query import BatchStatement, PreparedStatement

Statement = PreparedStatement | BatchStatement | str

BATCH = "BATCH"
"""The operation of statements with different operations."""

MAX_NAMED = 3
"""Most statements in the name of a span."""

_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+([A-Za-z0-9_.]+)", re.IGNORECASE)
_SPACE = re.compile(r"\s+")


def described(statements: Sequence[Statement], keyspace: str | None) -> tuple[str, dict[str, str | int]]:
    """Return the name and the attributes of the span in which these are executed, by OpenTelemetry's conventions.

    Only the text of prepared statements is included, since that of others may hold values.
    """
    texts = list(dict.fromkeys(map(_text, statements)))
    operations = {text.partition(" ")[0].upper() for text in texts}
    operation = operations.pop() if len(operations) == 1 else BATCH
    attributes: dict[str, str | int] = {"db.system.name": "cassandra", "db.operation.name": operation}
    if keyspace is not None:
        attributes["db.namespace"] = keyspace
    if (size := sum(map(_size, statements))) > 1:
        attributes["db.operation.batch.size"] = size
    if len(texts) == 1 and operation != BATCH:
        attributes["db.query.text"] = texts[0]
        if table := _TABLE.search(texts[0]):
            attributes["db.collection.name"] = table[1]
    return ", ".join(dict.fromkeys(map(_summary, texts[:MAX_NAMED]))) or operation, attributes


def _text(statement: Statement) -> str:
    """The text, with a question mark for each value."""
    if isinstance(statement, PreparedStatement):
        return _SPACE.sub(" ", str(statement.query_string)).strip()
    return BATCH


def _summary(text: str) -> str:
    """Such as `SELECT users`."""
    table = _TABLE.search(text)
    return text.partition(" ")[0].upper() + (f" {table[1]}" if table else "")


def _size(statement: Statement) -> int:
    return len(statement) if isinstance(statement, BatchStatement) else 1
