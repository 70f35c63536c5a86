"""The description of the API: the OpenAPI document, and the page `/docs`, without scripts or external files."""

import inspect
from typing import Any

import jinja2
from google.protobuf.message import Message
from quart import Quart
from quart_schema import HttpSecurityScheme, Info, QuartSchema
from quart_schema.openapi import OpenAPIProvider

from bff.http.problems import MEDIA_TYPE
from bff.models import MAX_PROFILES
from bff.openapi.schemas import REFERENCE, reference_to, schemas_of
from shared.contract.errors import KINDS, Code
from shared.contract.ids import MAX_ID

PROBLEM = {
    "type": "object",
    "description": "A refusal as a problem (RFC 9457). Programs match `code`, which is stable; `detail` is for people.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": [code.value for code in Code]},
        "field": {"type": "string"},
        "retry_after_ms": {"type": "integer"},
    },
}


HEAD_TOO_LARGE = {"description": "The request's line and headers are too large. The response has no body."}

USER_ID = {"type": "integer", "minimum": 1, "maximum": MAX_ID}
"""Of a user in a path, which quart-schema takes for any string."""


USER_IDS = {"type": "array", "items": USER_ID, "minItems": 1, "maxItems": MAX_PROFILES}
"""Of users in a query: one text, separated by commas."""


class Provider(OpenAPIProvider):
    """Adds to quart-schema: protobuf messages as responses, responses without a body, and problems."""

    def schema(self) -> dict[str, Any]:
        document = super().schema()
        document["components"]["schemas"]["Problem"] = PROBLEM
        problem = {"description": "A problem", "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE + "Problem"}}}}
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"] |= {"431": HEAD_TOO_LARGE, "default": problem}
                _complete(operation)
        return document

    def build_response_object(self, model: Any, headers_model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        if issubclass(model, Message):
            descriptor: Any = model.DESCRIPTOR
            content = {"application/json": {"schema": reference_to(descriptor)}}
            return {"description": descriptor.name, "content": content}, schemas_of(descriptor)
        response, components = super().build_response_object(model, headers_model)
        if not model.model_fields:
            return {"description": inspect.getdoc(model)}, {}
        return response, components


def _complete(operation: dict[str, Any]) -> None:
    """Add the rules of this server that quart-schema does not know."""
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path" and parameter["name"] == "user_id":
            parameter["schema"] = USER_ID
        if parameter["name"] == "user_ids":
            parameter |= {"schema": USER_IDS, "style": "form", "explode": False}


def document(app: Quart) -> QuartSchema:
    """Let quart-schema describe the routes. Its own pages are off, since they load scripts from other servers."""
    return QuartSchema(
        app,
        openapi_path=None,
        info=Info(title="Rookery", version="1", description="Accounts, profiles, chats and history over HTTP."),
        security_schemes={"bearer": HttpSecurityScheme(scheme="bearer", bearer_format="JWT")},
        conversion_preference="pydantic",
        openapi_provider_class=Provider,
    )


def render_page(openapi: dict[str, Any]) -> str:
    """Render the document as HTML, with a table of the codes of problems."""
    loader = jinja2.PackageLoader("bff.openapi")
    environment = jinja2.Environment(autoescape=True, loader=loader, trim_blocks=True, lstrip_blocks=True)
    environment.filters["schema"] = _describe
    return environment.get_template("docs.html").render(api=openapi, kinds=KINDS)


def _describe(schema: dict[str, Any]) -> str:
    """Summarize a JSON schema, such as `string, 3 to 32 characters`."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REFERENCE)
    if "anyOf" in schema:
        return " or ".join(_describe(each) for each in schema["anyOf"] if each.get("type") != "null")
    if schema.get("type") == "array":
        return "list of " + _describe(schema.get("items", {}))
    words = [str(schema.get("type", "any"))]
    low, high = schema.get("minLength", schema.get("minimum")), schema.get("maxLength", schema.get("maximum"))
    if high is not None:
        words.append(f"{low or 0} to {high}" + (" characters" if "maxLength" in schema else ""))
    words += [str(schema[key]) for key in ("format", "pattern") if key in schema]
    if schema.get("default"):
        words.append(f"default {schema['default']}")
    return ", ".join(words)
