"""JSON Schemas of protobuf messages, in the JSON that `shared.contract.wire` writes."""

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

REFERENCE = "#/components/schemas/"

_INT64 = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_INT32 = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32)


def schemas_of(descriptor: Descriptor) -> dict[str, Any]:
    """The schemas of the message and of all messages nested in it, by name."""
    properties = {field.name: _field(field) for field in descriptor.fields}
    found = {descriptor.name: {"type": "object", "properties": properties}}
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.name not in found:
            found |= schemas_of(field.message_type)
    return found


def reference_to(descriptor: Descriptor) -> dict[str, Any]:
    return {"$ref": REFERENCE + descriptor.name}


def _field(field: FieldDescriptor) -> dict[str, Any]:
    schema = _value(field)
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _value(field: FieldDescriptor) -> dict[str, Any]:
    if field.message_type is not None:
        return reference_to(field.message_type)
    if field.cpp_type in _INT64:
        return {"type": "string", "format": "int64"}
    if field.cpp_type in _INT32:
        return {"type": "integer"}
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"type": "boolean"}
    return {"type": "string"}
