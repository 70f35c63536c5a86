"""Checks and refusals that several kinds of messages and changes share. All are pure."""

from rookery.v1.session_pb2 import Text
from shared.contract.errors import Code, Refusal
from shared.contract.ids import MAX_ID


def check_text(text: Text, limit: int, field: str) -> Refusal | None:
    """The refusal of a text that is blank, or longer than `limit` bytes; `field` is its path."""
    body = text.body
    if not body or body.isspace():
        return Refusal(Code.INVALID, "The text must have more than white space.", f"{field}.body")
    if len(body.encode()) > limit:
        return too_long("text", limit, f"{field}.body")
    return None


def bad_id(field: str) -> Refusal:
    """The refusal of a number that is no id."""
    name = field.rpartition(".")[2]
    return Refusal(Code.INVALID, f"`{name}` must be an id from 1 to {MAX_ID}.", field)


def too_long(noun: str, limit: int, field: str) -> Refusal:
    """The refusal of a field that has more than `limit` bytes."""
    return Refusal(Code.TOO_LARGE, f"The {noun} must have at most {limit} bytes.", field)
