"""List headers of requests, whose items werkzeug parses one by one: some 4 microseconds for each two bytes."""

from hypercorn.typing import Scope

MAX_LIST_BYTES = 512
"""Most bytes of a list header that is parsed; browsers send less than 200."""

LISTS = frozenset((b"accept", b"accept-encoding", b"accept-language", b"if-match", b"if-none-match"))


def drop_long_lists(scope: Scope) -> Scope:
    """The scope without list headers of more than MAX_LIST_BYTES. The request is served as if it did not have them: in
    JSON, not compressed, and whole."""
    if scope["type"] != "http" or not any(_is_long_list(*field) for field in scope["headers"]):
        return scope
    return {**scope, "headers": [field for field in scope["headers"] if not _is_long_list(*field)]}


def _is_long_list(name: bytes, value: bytes) -> bool:
    return len(value) > MAX_LIST_BYTES and name.lower() in LISTS
