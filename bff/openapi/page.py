"""The page `/docs`: the OpenAPI document for people, with examples. It loads only `/docs.css` and `/docs.js`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup, escape

from bff.models.fields import ONE_LINE_PATTERN, PATTERNS
from bff.openapi.examples import PYTHON, curl
from bff.openapi.schemas import REFERENCE
from shared.contract.errors import KINDS

JSON = "application/json"

_FORMS = PATTERNS | {ONE_LINE_PATTERN: "one line"}
"""The words for patterns."""

_FORMATS = {"int64": "digits"}
"""The words for formats."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a body, query, path or response."""

    name: str
    place: str
    """`path`, `required`, `optional`, or nothing in a response."""
    kind: Markup
    """The type with its limits."""
    about: Markup


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path."""

    id: str
    method: str
    path: str
    text: Markup
    needs_token: bool
    parameters: list[Field]
    body: list[Field]
    status: str
    result: Markup
    response: list[Field]
    examples: dict[str, str]
    """Examples by their language."""


def render_page(openapi: dict[str, Any]) -> str:
    """Render the document as HTML, with a table of the codes of problems."""
    loader = jinja2.PackageLoader("bff.openapi")
    environment = jinja2.Environment(autoescape=True, loader=loader, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = lambda path: escape(path).replace("/", Markup("<wbr>/"))
    schemas = openapi["components"]["schemas"]
    groups: dict[str, list[Operation]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method.upper(), path, operation, schemas))
    shapes = {name: _fields(schema) for name, schema in schemas.items()}
    return environment.get_template("docs.html").render(info=openapi["info"], groups=groups, shapes=shapes, kinds=KINDS)


def _operation(method: str, path: str, operation: dict[str, Any], schemas: Mapping[str, Any]) -> Operation:
    status, success = next((str(key), value) for key, value in operation["responses"].items() if str(key)[0] == "2")
    body = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {})
    result = success.get("content", {}).get(JSON, {}).get("schema", {})
    examples = {"curl": curl(method, path, operation)}
    if python := PYTHON.get(operation["operationId"]):
        examples["Python"] = python
    return Operation(
        id=operation["operationId"],
        method=method,
        path=path,
        text=_prose(f"{operation['summary']} {operation['description']}"),
        needs_token=bool(operation["security"]),
        parameters=[_parameter(parameter) for parameter in operation.get("parameters", ())],
        body=_fields(body, {True: "required", False: "optional"}),
        status=status,
        result=_kind(result) if "$ref" in result else _prose(success["description"]),
        response=_fields(schemas[_name(result)] if "$ref" in result else result),
        examples=examples,
    )


def _parameter(parameter: dict[str, Any]) -> Field:
    schema = parameter["schema"]
    place = "path" if parameter["in"] == "path" else "required" if parameter.get("required") else "optional"
    return Field(parameter["name"], place, _kind(schema), _prose(parameter.get("description") or _about(schema)))


def _fields(schema: dict[str, Any], places: Mapping[bool, str] | None = None) -> list[Field]:
    """The fields of an object; `places` has the words for required and other fields."""
    required = schema.get("required", ())
    return [
        Field(name, places[name in required] if places else "", _kind(part), _prose(_about(part)))
        for name, part in schema.get("properties", {}).items()
    ]


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).removeprefix(REFERENCE)


def _about(schema: dict[str, Any]) -> str:
    """The description of a schema, or of the first of its choices that has one."""
    choices = [schema, *schema.get("anyOf", ())]
    return next((choice["description"] for choice in choices if choice.get("description")), "")


def _kind(schema: dict[str, Any]) -> Markup:
    """The type with its limits, such as `string, 3 to 32 characters`; a link for a shape."""
    if "$ref" in schema:
        return Markup('<a href="#shape-{0}">{0}</a>').format(_name(schema))
    if "anyOf" in schema:
        return Markup(" or ").join(_kind(each) for each in schema["anyOf"] if each.get("type") != "null")
    if schema.get("type") == "array":
        count = _range(schema, "Items")
        return Markup("list{} of {}").format(f" ({count})" if count else "", _kind(schema.get("items", {})))
    words = [Markup.escape(schema.get("type", "any"))]
    if "enum" in schema:
        words.append(Markup("one of {}").format(Markup(", ").join(map(_code, schema["enum"]))))
    if length := _range(schema, "Length"):
        words.append(escape(f"{length} characters"))
    if limits := _range(schema, "imum"):
        words.append(escape(limits))
    if "format" in schema:
        words.append(escape(_FORMATS.get(schema["format"], schema["format"])))
    if "pattern" in schema:
        form = _FORMS.get(schema["pattern"])
        words.append(escape(form) if form else _code(schema["pattern"]))
    if schema.get("default"):
        words.append(Markup("default {}").format(_code(schema["default"])))
    return Markup(", ").join(words)


def _range(schema: dict[str, Any], suffix: str) -> str:
    """The bounds in the fields `min…` and `max…`, such as `1 to 100`; empty without."""
    low, high = schema.get(f"min{suffix}"), schema.get(f"max{suffix}")
    if high is None:
        return "" if low is None else f"at least {low}"
    return f"{low} to {high}" if low else f"at most {high}"


def _code(value: object) -> Markup:
    return Markup("<code>{}</code>").format(value)


def _prose(text: str) -> Markup:
    """The text, with code between backticks."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text.strip()))))  # noqa: S704 - it is escaped
