"""Refusals of values that a model rejects, in sentences for people: `The password must have at least 10 characters.`"""

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bff.models.fields import PATTERNS
from shared.contract.errors import Code, Refusal

MAX_FIELD = 64
"""Most characters of a field's name in a refusal: an unknown field may have any name."""

REQUIREMENTS = {
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} {characters}",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must have {form}",
    "too_short": "must have at least {min_length} {entries}",
    "too_long": "must have at most {max_length} entries",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "missing": "is missing",
    "model_type": "must be an object",
}
"""The sentence after its subject, by the type of the error; other errors have sentences of their own."""

NOUNS = {"about": "text about you", "name_contains": "search text"}
"""Names of fields that are not a noun with underscores for spaces."""


def refusal_of(error: ValidationError) -> Refusal:
    """The refusal for the first error: `malformed` for a wrong type or an unknown field, else `invalid`."""
    first = error.errors(include_url=False, include_input=False)[0]
    kind, field = first["type"], field_of(first)
    malformed = kind in ("missing", "json_invalid", "extra_forbidden") or kind.endswith(("_type", "_parsing"))
    return Refusal(Code.MALFORMED if malformed else Code.INVALID, sentence(first), field=field)


def field_of(error: ErrorDetails) -> str:
    """The path to the rejected value, such as `user_ids[3]`; empty for the whole body."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    return "".join(parts).removeprefix(".")[:MAX_FIELD]


def sentence(error: ErrorDetails) -> str:
    """A sentence that names the field and the limit."""
    kind, message, context = error["type"], error["msg"], error.get("ctx", {})
    if kind == "json_invalid":
        return f"The body is not JSON in UTF-8: {message.removeprefix('Invalid JSON: ')}."
    if kind == "extra_forbidden":
        return f"There is no field `{field_of(error)}`."
    if requirement := REQUIREMENTS.get(kind):
        return f"{_subject(error)} {requirement.format(**context, **_nouns(context))}."
    return f"{_subject(error)} {message[0].lower()}{message[1:]}."


def _subject(error: ErrorDetails) -> str:
    """The innermost field, which `field` locates; of the entries of a list, all."""
    names = [part for part in error["loc"] if isinstance(part, str)]
    if not names:
        return "The body"
    noun = NOUNS.get(names[-1], names[-1].replace("_", " "))
    return f"The {noun}" if error["loc"][-1] == names[-1] else f"Each of the {noun}"


def _nouns(context: dict[str, Any]) -> dict[str, str]:
    """The nouns of the requirements, in their number."""
    is_one = context.get("min_length") == 1
    return {
        "characters": "character" if is_one else "characters",
        "entries": "entry" if is_one else "entries",
        "form": PATTERNS.get(context.get("pattern", ""), "the form in the description of the API"),
    }
