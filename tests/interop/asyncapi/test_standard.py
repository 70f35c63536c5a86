"""The document of sessions is one by AsyncAPI's own schema, as its package on npm has it."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.asyncapi import document
from tests.needed import needed
from tools.toolchains import node_modules

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def standard() -> Draft7Validator:
    folder = needed(node_modules, Path(__file__).parent)
    schema: dict[str, Any] = json.loads((folder / "@asyncapi/specs/schemas/3.0.0.json").read_text())
    return Draft7Validator(schema)


def test_the_document_is_valid(standard: Draft7Validator) -> None:
    assert [error.json_path + ": " + error.message for error in standard.iter_errors(document())] == []


@pytest.mark.parametrize("part", ["info", "asyncapi"])
def test_the_check_can_fail(standard: Draft7Validator, part: str) -> None:
    wrong = {name: value for name, value in document().items() if name != part}
    assert not standard.is_valid(wrong)
