"""Validate frames against the AsyncAPI document of sessions."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft7Validator

import rookery.v1

Frame = Literal["ClientFrame", "ServerFrame"]


@cache
def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((Path(rookery.v1.__file__).parent / "asyncapi.json").read_text())
    return parsed


@cache
def schema(frame: Frame) -> Draft7Validator:
    """Schema of the frames of one side."""
    return Draft7Validator({"$ref": f"#/components/schemas/{frame}", "components": document()["components"]})


def problems(frame: Frame, value: Any) -> list[str]:
    """Violations of the document by a frame; empty if it is valid."""
    return [f"{error.json_path}: {error.message}" for error in schema(frame).iter_errors(value)]
