"""Types of the fields in bodies and queries of the HTTP API, with their limits and schemas.

Ids and times are strings of digits in JSON.
"""

import unicodedata
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StringConstraints,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from shared.contract.ids import MAX_ID

MAX_PROFILES = 100
"""User ids in one query."""

MAX_VALUE_CHARACTERS = 10_000
"""Most characters of a text in the live configuration; each key has a lower limit of its own."""

_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp", "Zs"))
"""Categories of characters that show nothing. An unassigned one may be an emoji that is newer than this Python."""

NAME_PATTERN = "^[A-Za-z0-9._-]+$"

PATTERNS = {NAME_PATTERN: "only letters from a to z, digits, dots, underscores and hyphens"}
"""The form that a pattern requires, in words."""

ONE_LINE_PATTERN = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"

ONE_LINE = Field(json_schema_extra={"pattern": ONE_LINE_PATTERN})
"""`one_line` in the JSON Schema."""


def digits(value: Any) -> Any:
    """Accept whole numbers as digits only: no sign, spaces or fraction; at most 19 digits. Not `false` as 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Must be a whole number")
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 19):
        raise PydanticCustomError("int_parsing", "Must be a whole number of 1 to 19 digits")
    return value


def whole(value: Any) -> Any:
    """Accept 7.0 as 7: JSON does not tell them apart."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def number_or_text(value: Any) -> Any:
    """Refuse all else here: a union names the types that it tries in the path, and an error for each of them."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise PydanticCustomError("value_type", "Must be a number or text")
    if isinstance(value, str) and len(value) > MAX_VALUE_CHARACTERS:
        raise PydanticKnownError("string_too_long", {"max_length": MAX_VALUE_CHARACTERS})
    return value


def one_line(text: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise PydanticCustomError("control_characters", "Must not have line breaks or other control characters")
    return text


def visible(text: str) -> str:
    if all(unicodedata.category(character) in _INVISIBLE for character in text):
        raise PydanticCustomError("blank", "Must not be only white space")
    return text


def one_of(names: Sequence[str]) -> tuple[AfterValidator, Any]:
    """The validation and the schema of a text that is one of the names."""

    def check(text: str) -> str:
        if text not in names:
            raise PydanticCustomError("enum", "Must be one of: {names}", {"names": ", ".join(names)})
        return text

    return AfterValidator(check), Field(json_schema_extra={"enum": [*names]})


def utf8_bytes(least: int, most: int) -> tuple[AfterValidator, Any]:
    """The validation and the schema of a text of this many bytes in UTF-8, which has at most as many characters."""

    def check(text: str) -> str:
        if not least <= len(text.encode()) <= most:
            message = "Must have {least} to {most} bytes" if least else "Must have at most {most} bytes"
            raise PydanticCustomError("bytes", message, {"least": least, "most": most})
        return text

    return AfterValidator(check), Field(json_schema_extra={"minLength": least, "maxLength": most})


def _split(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


Flag = Annotated[bool, Field(strict=True)]
"""True or false: neither 0 nor "false"."""

INT64 = Field(json_schema_extra={"format": "int64"})
"""In the JSON Schema of an integer: generated clients take one without a format for 32 bits."""

# The bounds come before the validators, so that the JSON Schema has them as `minimum` and `maximum`.
Digits = Annotated[int, Field(ge=0, le=MAX_ID), INT64, BeforeValidator(digits)]
UserId = Annotated[int, Field(ge=1, le=MAX_ID), INT64, BeforeValidator(digits)]
UserIds = Annotated[
    tuple[UserId, ...],
    BeforeValidator(_split),
    Field(min_length=1, max_length=MAX_PROFILES, description="User ids, separated by commas"),
]
NumberOrText = Annotated[
    StrictInt | StrictFloat | Annotated[str, StringConstraints(max_length=MAX_VALUE_CHARACTERS, strict=True)],
    BeforeValidator(number_or_text),
]
Limit = Annotated[int, Field(ge=1, le=100, description="Entries on a page"), BeforeValidator(digits)]
ReportsLimit = Annotated[int, Field(ge=1, le=20, description="Reports on a page"), BeforeValidator(digits)]
Cursor = Annotated[str, StringConstraints(max_length=256)]
Name = Annotated[
    str,
    StringConstraints(min_length=3, max_length=32, pattern=NAME_PATTERN, to_lower=True),
    Field(description="3 to 32 of a-z, 0-9, dot, underscore and hyphen; stored in lower case"),
]
LinkToken = Annotated[str, StringConstraints(max_length=128), Field(repr=False)]
DisplayName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, strip_whitespace=True),
    AfterValidator(one_line),
    AfterValidator(visible),
    ONE_LINE,
]
Avatar = Annotated[
    str,
    StringConstraints(max_length=64),
    Field(description="The token of a picture, uploaded for this profile or group; empty to have none"),
]
SearchPart = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    AfterValidator(one_line),
    ONE_LINE,
    Field(
        description="Words in any order, each a part of the name or display name; one of 1 or 2 characters is the "
        "beginning of a word. Case and an `@` in front of a word do not matter"
    ),
]


class Input(BaseModel):
    """A body or query from a client. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
