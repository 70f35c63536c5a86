"""Health, the public keys, and the descriptions of the API."""

import gzip
import re
from typing import Any

import pytest
import trio.testing

from rookery.v1.groups_pb2 import Invite
from shared.telemetry.metrics import serve_role
from tests.bff.conftest import Api

FREE = {"/v1/users", "/v1/password-resets", "/v1/tokens", "/v1/tokens/refresh"}
"""Paths to which a POST needs no access token."""

ROUTES = {
    "/v1/users": {"post"},
    "/v1/password-resets": {"post"},
    "/v1/tokens": {"post"},
    "/v1/tokens/refresh": {"post"},
    "/v1/tokens/current": {"delete"},
    "/v1/me": {"get", "patch"},
    "/v1/me/password": {"put"},
    "/v1/me/deletion": {"post"},
    "/v1/me/sign-ins": {"get"},
    "/v1/me/sign-ins/others": {"delete"},
    "/v1/me/sign-ins/{sign_in_id}": {"delete"},
    "/v1/me/gateway": {"get"},
    "/v1/me/blocks": {"get"},
    "/v1/me/blocks/{user_id}": {"put", "delete"},
    "/v1/me/connections": {"get"},
    "/v1/me/connections/{user_id}": {"put", "delete"},
    "/v1/reports": {"post"},
    "/v1/profiles": {"get"},
    "/v1/people": {"get"},
    "/v1/profiles/{user_id}": {"get"},
    "/v1/chats": {"get", "post"},
    "/v1/chats/{chat_id}": {"get", "patch"},
    "/v1/chats/{chat_id}/changes": {"get"},
    "/v1/chats/{chat_id}/marks": {"get"},
    "/v1/chats/{chat_id}/invites": {"get", "post"},
    "/v1/chats/{chat_id}/invites/{invite_id}": {"delete"},
    "/v1/chats/{chat_id}/requests": {"get"},
    "/v1/chats/{chat_id}/requests/{user_id}": {"delete"},
    "/v1/joining/{link}": {"get", "post"},
    "/v1/public-chats": {"get"},
    "/v1/public-chats/{chat_id}/joining": {"post"},
    "/v1/chats/{chat_id}/members": {"get", "post"},
    "/v1/chats/{chat_id}/members/{user_id}": {"patch", "delete"},
    "/v1/chats/{chat_id}/profiles": {"get"},
    "/v1/files": {"post"},
    "/v1/files/links": {"post"},
    "/v1/files/{file_id}": {"get", "delete"},
    "/v1/files/{file_id}/parts/{number}": {"put"},
    "/v1/files/{file_id}/complete": {"post"},
    "/v1/avatars": {"post"},
    "/v1/chats/{chat_id}/files": {"get"},
    "/v1/chats/{chat_id}/messages": {"get"},
    "/v1/chats/{chat_id}/messages/{message_id}/versions": {"get"},
    "/v1/admin/processes": {"get"},
    "/v1/admin/configuration": {"get"},
    "/v1/admin/configuration/{key}": {"put", "delete"},
    "/v1/admin/configuration/history": {"get"},
    "/v1/admin/users": {"get", "post"},
    "/v1/admin/users/{user_id}": {"get", "delete"},
    "/v1/admin/users/{user_id}/password-reset": {"post"},
    "/v1/admin/users/{user_id}/suspension": {"put", "delete"},
    "/v1/admin/users/{user_id}/sign-ins": {"delete"},
    "/v1/admin/invites": {"get", "post"},
    "/v1/admin/invites/{invite_id}": {"delete"},
    "/v1/admin/reports": {"get"},
    "/v1/admin/reports/{report_id}": {"post"},
    "/v1/admin/reports/{report_id}/links": {"post"},
    "/v1/admin/audit": {"get"},
}


ID = {"type": "integer", "format": "int64", "minimum": 1, "maximum": 2**63 - 1}
"""The schema of an id in a request."""


@pytest.mark.parametrize("probe", ["livez", "readyz", "startupz"])
async def test_a_healthy_process_is_ok(api: Api, probe: str) -> None:
    reply = await api.call("GET", f"/{probe}")
    assert (reply.status, reply.body["status"]) == (200, "ok")


async def test_a_process_that_drains_is_not_ready_but_alive(api: Api) -> None:
    api.services.health.mark_draining()
    assert [(await api.call("GET", path)).status for path in ("/readyz", "/livez")] == [503, 200]


async def test_the_public_keys_verify_and_have_no_private_half(api: Api, token: str) -> None:
    reply = await api.call("GET", "/.well-known/jwks.json")
    (key,) = reply.body["keys"]
    assert key["crv"] == "Ed25519"
    assert "d" not in key


@pytest.mark.parametrize("path", ["/metrics", "/%6Detrics"])
async def test_metrics_are_for_direct_requests_alone(api: Api, path: str) -> None:
    assert b"process_open_fds" in (await api.call("GET", path)).text
    for header in ("X-Forwarded-For", "Forwarded"):
        assert (await api.call("GET", path, headers={header: "192.0.2.1"})).status == 404


async def test_metrics_are_not_made_anew_for_each_stranger(api: Api, mock_clock: trio.testing.MockClock) -> None:
    checks: list[int] = []

    async def is_ready() -> bool:
        checks.append(1)
        return True

    with serve_role("bff", is_ready):
        for _ in range(3):
            assert b"rookery_ready" in (await api.call("GET", "/metrics")).text
    assert checks == [1]


@pytest.fixture
async def openapi(api: Api) -> Any:
    return (await api.call("GET", "/openapi.json")).body


async def test_the_document_has_every_route_and_every_schema(openapi: Any) -> None:
    assert {path: set(methods) for path, methods in openapi["paths"].items()} == ROUTES
    references = set(re.findall(r"#/components/schemas/(\w+)", str(openapi)))
    assert references
    assert references <= openapi["components"]["schemas"].keys()


async def test_operations_name_their_security_and_their_errors(openapi: Any) -> None:
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            free = method == "post" and path in FREE
            assert operation["security"] == ([] if free else [{"bearer": []}]), path
            assert "application/problem+json" in operation["responses"]["default"]["content"]
            assert operation["summary"]


async def test_messages_in_the_document_are_as_on_the_wire(openapi: Any) -> None:
    schemas = openapi["components"]["schemas"]
    assert schemas["Message"]["properties"]["message_id"] == {"type": "string", "format": "int64"}
    assert schemas["ListMessagesResponse"]["properties"]["messages"] == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/HistoryMessage"},
    }
    assert set(schemas["Invite"]["properties"]) == set(Invite.DESCRIPTOR.fields_by_name)
    report = openapi["paths"]["/v1/reports"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    user_id, message_id = report["properties"]["user_id"], report["properties"]["message_ids"]["items"]
    for schema in (user_id, message_id):
        assert {name: schema.get(name) for name in ID} == ID
    versions = openapi["paths"]["/v1/chats/{chat_id}/messages/{message_id}/versions"]["get"]["parameters"]
    assert [(each["name"], each["required"]) for each in versions if each["in"] == "query"] == [("kind", True)]
    assert openapi["paths"]["/v1/tokens/current"]["delete"]["responses"]["204"].keys() == {"description"}  # no body


async def test_ids_in_paths_have_their_bounds_in_the_document(openapi: Any) -> None:
    """Not the id of an invite to register, which is no number."""
    unbounded = {
        (path, parameter["name"])
        for path, methods in openapi["paths"].items()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "path" and parameter["name"].endswith("_id") and parameter["schema"] != ID
    }
    assert {(path, name) for path, name in unbounded if name != "chat_id"} == {
        ("/v1/me/sign-ins/{sign_in_id}", "sign_in_id"),
        ("/v1/admin/invites/{invite_id}", "invite_id"),
    }


async def test_the_description_of_sessions_is_served_and_cached(api: Api) -> None:
    reply = await api.call("GET", "/asyncapi.json")
    assert reply.body["asyncapi"] == "3.0.0"
    assert reply.headers["Content-Type"] == "application/json"
    etag = {"If-None-Match": reply.headers["ETag"]}
    assert (await api.call("GET", "/asyncapi.json", headers=etag)).status == 304


async def test_the_page_of_the_document_loads_nothing_of_another_server_and_no_inline_code(api: Api) -> None:
    reply = await api.call("GET", "/docs")
    text = reply.text.decode()
    assert reply.status == 200
    assert re.findall("<script[^>]*>[^<]*", text) == ['<script type="module" src="/docs.js">']
    assert re.findall(r' (?:style|on\w+)=|(?:src|href)="(?![/#])', text) == []
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    for path in ROUTES:
        assert f"<code>{path}</code>" in text
    for suffix, media_type, words in (("css", "text/css", b"--paper"), ("js", "text/javascript", b"clipboard")):
        file = await api.call("GET", f"/docs.{suffix}")
        assert (file.headers["Content-Type"], words in file.text) == (f"{media_type}; charset=utf-8", True)
        compressed = await api.call("GET", f"/docs.{suffix}", headers={"Accept-Encoding": "gzip"})
        assert compressed.headers["ETag"] != file.headers["ETag"]
        assert gzip.decompress(compressed.text) == file.text


async def test_the_page_shows_types_limits_and_descriptions(api: Api) -> None:
    text = (await api.call("GET", "/docs")).text.decode()
    for words in (
        "string, 3 to 32 characters, only letters from a to z, digits, dots, underscores and hyphens",
        "list (1 to 100) of integer, 1 to 9223372036854775807",
        'list of <a href="#shape-HistoryMessage">HistoryMessage</a>',
        "string, digits",
        "string, one of <code>edited</code>, <code>pinned</code>, <code>previewed</code>, <code>reacted</code>",
        "integer or number or string, at most 10000 characters",
        "Case and an <code>@</code> in front of a word",
    ):
        assert words in text
    assert set(re.findall('href="#([^"]+)"', text)) <= set(re.findall(' id="([^"]+)"', text))


async def test_the_type_of_a_problem_is_explained_on_the_page(api: Api) -> None:
    problem = (await api.call("GET", "/v1/none")).body
    path, _, anchor = problem["type"].partition("#")
    assert f'id="{anchor}"' in (await api.call("GET", path)).text.decode()
