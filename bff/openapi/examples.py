"""Examples of each request for the page `/docs`, for curl and for the Python client."""

import json
import shlex
from typing import Any
from urllib.parse import urlencode

VALUES: dict[str, Any] = {
    "after": "1378451092000000",
    "class": "media",
    "client_change_id": "b1f0d3a2",
    "client_file_id": "7d2e9c04",
    "current_password": "correct horse battery",
    "days": 7,
    "display_name": "Ada Lindqvist",
    "files": [{"file_id": "1378451090000000", "chat_id": "d-12-34", "message_id": "1378451092000000"}],
    "from_id": "1378451092000000",
    "kind": "edited",
    "limit": 20,
    "name": "ada",
    "name_contains": "grace",
    "new_password": "staple correct horse",
    "message_ids": ["1378451092000000"],
    "note": "Warned them",
    "part": "ada",
    "password": "correct horse battery",
    "reason": "Sends advertisements",
    "refresh_token": "REFRESH_TOKEN",
    "resolution": "handled",
    "size": 2_400_000,
    "token": "TOKEN_OF_THE_LINK",
    "uses": 10,
    "value": 20,
    "version": 1,
}
"""Values of fields in bodies and queries. An optional field without a value is left out of an example."""

STREAMED_TYPE = "application/octet-stream"
"""The media type of a body that is no JSON: the bytes of a part."""

LINK = "4611686018427387904.AAECAwQFBgcICQoLDA0ODw"
"""The token of an invite link."""

PATHS = {
    "chat_id": "d-12-34",
    "link": LINK,
    "file_id": "1378451090000000",
    "invite_id": "45736211df3f",
    "key": "messages_page_size",
    "message_id": "1378451092000000",
    "number": "1",
    "report_id": "1378451092000000",
    "sign_in_id": "mHcM3b0tFX9nGqPZ1sYx8w",
    "user_id": "34",
}
"""Values of the parts of a path."""

GROUP = "g-4611686018427387904"

OF_OPERATION: dict[str, dict[str, Any]] = {
    "post_report": {"user_id": "34", "chat_id": "d-12-34"},
    "post_open_reported_file": {"message_id": "1378451092000000", "file_id": "1378451090000000", "rendition": "320"},
    "post_reserve_file": {"name": "sunrise.jpg"},
    "post_create_group": {"name": "Rowing club", "topic": "Tuesdays at six", "user_ids": ["34", "56"]},
    "patch_change_group": {"chat_id": GROUP, "name": "Rowing and sailing club"},
    "post_add_members": {"chat_id": GROUP, "user_ids": ["78"]},
    "patch_change_member": {"chat_id": GROUP, "role": "ROLE_ADMIN"},
    "delete_remove_member": {"chat_id": GROUP},
    "get_list_members": {"chat_id": GROUP, "after": "34"},
    "get_find_members": {"chat_id": GROUP},
    "get_list_marks": {"chat_id": GROUP},
    "post_create_group_invite": {"chat_id": GROUP, "max_uses": 10},
    "get_list_group_invites": {"chat_id": GROUP},
    "delete_revoke_group_invite": {"chat_id": GROUP, "invite_id": "1378451092000000"},
    "get_list_public_chats": {"query": "rowing", "after": ""},
    "post_join_public_chat": {"chat_id": GROUP},
    "get_list_join_requests": {"chat_id": GROUP},
    "delete_decline_user": {"chat_id": GROUP},
}
"""Values of one operation, in place of the general ones."""

PYTHON = {
    "post_register": 'user = await api.register("Ada Lindqvist")',
    "post_sign_in": "user = await api.sign_in()",
    "post_refresh": "token = await api.access_token()  # refreshed if it expires soon",
    "delete_sign_out": "await api.sign_out()",
    "get_get_gateway": "gateway = await api.gateway()",
    "get_list_profiles": 'grace = await api.find_user("grace")\nfound = await api.find_users("gra", limit=20)',
    "get_list_chats": "page = await api.chats(limit=20)",
    "get_get_chat": 'chat = await api.chat("d-12-34")',
    "get_list_messages": 'page = await api.history("d-12-34", limit=20)',
    "get_list_changes": 'changes = await api.changes("d-12-34", after=1378451092000000)',
    "get_list_versions": 'edits = await api.versions("d-12-34", 1378451092000000, "edited")',
    "get_list_connections": "connections = await client.people.connections()",
    "put_connect": "connection = await client.people.connect(34)",
    "delete_disconnect": "await client.people.disconnect(34)",
    "get_list_blocks": "user_ids = await client.people.blocks()",
    "put_block": "await client.people.block(34)",
    "delete_unblock": "await client.people.unblock(34)",
    "post_report": 'await client.people.report(34, "Sends advertisements", chat_id="d-12-34", message_ids=[56])',
    "post_create_group": 'message = await client.groups.create("Rowing club", [34, 56], topic="Tuesdays at six")',
    "patch_change_group": f'await client.groups.change_settings("{GROUP}", name="Rowing and sailing club")',
    "post_add_members": f'await client.groups.add_members("{GROUP}", [78])',
    "patch_change_member": f'await client.groups.change_member("{GROUP}", 34, role=Role.ROLE_ADMIN)',
    "delete_remove_member": f'await client.groups.remove_member("{GROUP}", 34)  # or client.groups.leave("{GROUP}")',
    "get_list_members": f'page = await client.groups.members("{GROUP}")',
    "get_find_members": f'page = await client.groups.find_members("{GROUP}", "grace")',
    "post_create_group_invite": f'invite = await client.groups.create_invite("{GROUP}", max_uses=10)',
    "get_list_group_invites": f'invites = await client.groups.invites("{GROUP}")',
    "delete_revoke_group_invite": f'await client.groups.revoke_invite("{GROUP}", 1378451092000000)',
    "get_get_joinable_chat": f'chat = await client.groups.joinable("{LINK}")',
    "post_join": f'message = await client.groups.join("{LINK}")',
    "get_list_public_chats": 'page = await client.groups.public("rowing")',
    "post_join_public_chat": f'message = await client.groups.join_public("{GROUP}")',
    "get_list_join_requests": f'users = await client.groups.requests("{GROUP}")',
    "delete_decline_user": f'await client.groups.decline("{GROUP}", 34)',
    "get_list_marks": f'page = await client.groups.marks("{GROUP}", from_id=1378451092000000)',
}
"""Calls of the Python client, by operation: `api` is the result of `open_api`, `client` of `open_client`."""


def curl(method: str, path: str, operation: dict[str, Any]) -> str:
    """The request as a command. The shell has the address of the server in ROOKERY and an access token in TOKEN."""
    own = OF_OPERATION.get(operation["operationId"], {})
    values = VALUES | own
    query = {
        parameter["name"]: values[parameter["name"]]
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query" and parameter["name"] in values
    }
    url = "$ROOKERY" + path.format(**PATHS | own) + (f"?{urlencode(query)}" if query else "")
    has_body = "requestBody" in operation
    is_streamed = has_body and STREAMED_TYPE in operation["requestBody"]["content"]
    implied = "POST" if has_body and not is_streamed else "GET"
    lines = [f'curl "{url}"' if method == implied else f'curl -X {method} "{url}"']
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if is_streamed:
        lines.append("-T part-1" if method == "PUT" else "-T picture.jpg")
    elif has_body:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = {name: values[name] for name in schema["properties"] if name in values or name in schema["required"]}
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(body))}"]
    return " \\\n  ".join(lines)
