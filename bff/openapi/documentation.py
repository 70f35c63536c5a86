"""The description of the API: the OpenAPI document, generated from the routes."""

import inspect
from typing import Any

from google.protobuf.message import Message
from quart import Quart
from quart_schema import HttpSecurityScheme, Info, QuartSchema
from quart_schema.openapi import OpenAPIProvider

from bff.models.fields import MAX_PROFILES
from bff.openapi.examples import STREAMED_TYPE
from bff.openapi.schemas import REFERENCE, reference_to, schemas_of
from shared.contract.errors import Code
from shared.contract.ids import MAX_ID
from shared.contract.problems import MEDIA_TYPE
from shared.files.protocol import MAX_PARTS

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


HEAD_TOO_LARGE = {"description": "The request's line and headers are too large, or too many. The response has no body."}

ID = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}

IDS = ("user_id", "message_id", "file_id", "report_id")
"""Parts of a path that are an ID, which quart-schema takes for any string."""

INVITES_OF_GROUPS = "delete_revoke_group_invite"
"""The operation whose `invite_id` is an ID, too; that of an invite to register is not."""

PART_NUMBER = {"type": "integer", "minimum": 1, "maximum": MAX_PARTS}

REPEATED = ("post_reserve_file",)
"""Operations that create something, but not when they are repeated: their status is 200 then."""

STREAMED = ("put_write_part", "post_make_avatar")
"""Operations whose bodies are no JSON, which quart-schema does not know."""


USER_IDS = {"type": "array", "items": ID, "minItems": 1, "maxItems": MAX_PROFILES}
"""The schema of user ids in a query: one text, separated by commas."""


class Provider(OpenAPIProvider):
    """Adds to quart-schema: required fields of queries, protobuf messages as responses, responses without a body, and
    problems."""

    def schema(self) -> dict[str, Any]:
        document = super().schema()
        document["components"]["schemas"]["Problem"] = PROBLEM
        problem = {"description": "A problem", "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE + "Problem"}}}}
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"] |= {"431": HEAD_TOO_LARGE, "default": problem}
                _complete(operation)
        return document

    def build_querystring_parameters(self, model: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        parameters, components = super().build_querystring_parameters(model)
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        for parameter in parameters:
            if fields[parameter["name"]].is_required():
                parameter["required"] = True
        return parameters, components

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
    if operation["operationId"] in REPEATED:
        operation["responses"][200] = operation["responses"][201]
    if operation["operationId"] in STREAMED:
        schema = {"type": "string", "format": "binary"}
        operation["requestBody"] = {"content": {STREAMED_TYPE: {"schema": schema}}, "required": True}
    elif "requestBody" in operation:
        operation["requestBody"]["required"] = True
    for parameter in operation.get("parameters", ()):
        ids = (*IDS, "invite_id") if operation["operationId"] == INVITES_OF_GROUPS else IDS
        if parameter["in"] == "path" and parameter["name"] in ids:
            parameter["schema"] = ID
        if parameter["name"] == "number":
            parameter["schema"] = PART_NUMBER
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
