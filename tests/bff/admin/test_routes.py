"""The admin API over HTTP, which is closed to everyone else."""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, cast

import pytest
import structlog
import trio

from bff.admin import routes
from rookery.v1.archive_pb2 import GetGroupRequest, GetGroupResponse, Group
from rookery.v1.groups_pb2 import GroupSettings
from shared.accounts import administration
from shared.accounts.administration import Administration, Announce
from shared.accounts.audit import Actor, AuditEntry
from shared.accounts.people import Report
from shared.configuration import LiveConfiguration
from shared.contract.errors import Code, Refusal, Unavailable
from shared.coordination.processes import ProcessReport, ProcessStats
from tests.bff.conftest import PASSWORD, Api, disconnect_after_write


class Signed:
    """A signed-in user."""

    def __init__(self, api: Api, user: dict[str, Any], tokens: dict[str, Any]) -> None:
        self._api = api
        self.user_id = str(user["user_id"])
        self.name = str(user["name"])
        self.tokens = tokens

    @property
    def in_log(self) -> str:
        return f"{self.name} ({self.user_id})"

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        return await self._api.call(method, path, body, token=self.tokens["access_token"])


async def sign_up(api: Api, name: str) -> Signed:
    user = await api.register(name)
    return Signed(api, user, await api.sign_in(name))


@pytest.fixture
async def admin(api: Api) -> Signed:
    signed = await sign_up(api, "admin")
    assert await api.accounts.make_admin(int(signed.user_id))
    return signed


@pytest.fixture
async def bob(api: Api) -> Signed:
    return await sign_up(api, "bob")


@pytest.fixture
async def lines() -> AsyncIterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def acts(api: Api) -> list[tuple[str, str, str, str]]:
    """Return actor, act, target and detail of each audit entry, oldest first."""
    entries = await api.accounts.audit_entries(limit=100)
    return [(str(entry.actor), entry.act, entry.target, entry.detail) for entry in reversed(entries)]


# ---- access


async def test_every_admin_route_refuses_other_users_and_anonymous_requests(api: Api, bob: Signed) -> None:
    paths = (await api.call("GET", "/openapi.json")).body["paths"]
    routes = [(method, path) for path, methods in paths.items() for method in methods if "/admin" in path]
    assert len(routes) >= 11
    for method, path in routes:
        real = path.replace("{user_id}", bob.user_id).replace("{key}", "max_text_bytes")
        refused = await bob.call(method.upper(), real, {"reason": "x", "value": 1} if method == "put" else None)
        assert refused.refusal[:2] == (403, "forbidden"), (method, path)
        unknown = await api.call(method.upper(), real)
        assert unknown.refusal[:2] == (401, "unauthenticated"), (method, path)
        assert paths[path][method]["security"] == [{"bearer": []}]
    assert await acts(api) == []


async def test_a_revoked_admin_loses_access_at_the_next_request(api: Api, admin: Signed) -> None:
    assert (await admin.call("GET", "/v1/admin/audit")).status == 200
    await api.accounts.revoke_admin(int(admin.user_id))
    assert (await admin.call("GET", "/v1/admin/audit")).status == 403


async def test_an_account_shows_whether_it_is_an_admin(api: Api, admin: Signed, bob: Signed) -> None:
    mine, bobs = await admin.call("GET", "/v1/me"), await bob.call("GET", "/v1/me")
    assert (mine.body["is_admin"], bobs.body["is_admin"]) == (True, False)
    assert (await api.sign_in("admin"))["user"]["is_admin"]
    await api.accounts.revoke_admin(int(admin.user_id))
    headers = {"Authorization": f"Bearer {admin.tokens['access_token']}", "If-None-Match": mine.headers["ETag"]}
    assert (await api.call("GET", "/v1/me", headers=headers)).body["is_admin"] is False


# ---- suspension


@pytest.mark.parametrize("is_down", [False, True])
async def test_a_suspended_user_is_refused_everywhere_even_while_the_log_is_down(
    api: Api, admin: Signed, bob: Signed, is_down: bool
) -> None:
    api.log.down = is_down
    path = f"/v1/admin/users/{bob.user_id}/suspension"
    assert (await admin.call("PUT", path, {"reason": "spam"})).status == 204
    for reply in (
        await api.call("POST", "/v1/tokens", {"name": "bob", "password": PASSWORD}),
        await api.call("POST", "/v1/tokens/refresh", {"refresh_token": bob.tokens["refresh_token"]}),
        await bob.call("GET", "/v1/me"),
    ):
        assert reply.refusal[:2] == (403, "suspended")
        assert "spam" not in reply.text.decode()
    assert api.log.ended() == ([] if is_down else [""])  # all sign-ins
    (found,) = (await admin.call("GET", f"/v1/admin/users?user_id={bob.user_id}")).body["users"]
    assert (found["suspended_at_ms"], found["suspended_reason"]) == (api.clock.now_ms, "spam")


async def test_a_wrong_password_does_not_disclose_a_suspension(api: Api, admin: Signed, bob: Signed) -> None:
    await admin.call("PUT", f"/v1/admin/users/{bob.user_id}/suspension", {"reason": "spam"})
    reply = await api.call("POST", "/v1/tokens", {"name": "bob", "password": "wrong password"})
    assert reply.refusal[:2] == (401, "unauthenticated")


async def test_a_restored_user_signs_in_again(api: Api, admin: Signed, bob: Signed) -> None:
    path = f"/v1/admin/users/{bob.user_id}/suspension"
    await admin.call("PUT", path, {"reason": "spam"})
    assert (await admin.call("DELETE", path)).status == 204
    assert (await bob.call("GET", "/v1/me")).status == 401
    renewed = await api.call("POST", "/v1/tokens/refresh", {"refresh_token": bob.tokens["refresh_token"]})
    assert renewed.refusal[:2] == (401, "unauthenticated")
    assert (await api.sign_in("bob"))["user"]["user_id"] == bob.user_id
    assert (await admin.call("GET", f"/v1/admin/users/{bob.user_id}")).body["suspended_at_ms"] is None


@pytest.mark.parametrize("who", ["self", "other"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_no_admin_can_be_suspended_or_deleted(
    api: Api, admin: Signed, bob: Signed, method: str, who: str
) -> None:
    target = admin if who == "self" else bob
    await api.accounts.make_admin(int(bob.user_id))
    path = f"/v1/admin/users/{target.user_id}"
    if method == "PUT":
        reply = await admin.call("PUT", f"{path}/suspension", {"reason": "coup"})
    else:
        reply = await admin.call("DELETE", path)
    assert reply.refusal[:2] == (409, "out_of_order")
    assert f"rookery user admin {target.name} --revoke" in reply.body["detail"]
    assert (await target.call("GET", "/v1/me")).status == 200
    assert await acts(api) == []


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 201}, {"reason": "a\nb"}])
async def test_a_suspension_needs_a_reason_of_one_line(api: Api, admin: Signed, bob: Signed, body: Any) -> None:
    reply = await admin.call("PUT", f"/v1/admin/users/{bob.user_id}/suspension", body)
    assert reply.status in (400, 422)
    assert reply.body["field"] == "reason"
    assert await acts(api) == []


async def test_an_unknown_user_can_not_be_suspended_restored_or_signed_out(api: Api, admin: Signed) -> None:
    for method, path in (("PUT", "suspension"), ("DELETE", "suspension"), ("DELETE", "sign-ins")):
        reply = await admin.call(method, f"/v1/admin/users/99/{path}", {"reason": "x"} if method == "PUT" else None)
        assert reply.refusal[:2] == (404, "not_found")
    assert await acts(api) == []


async def test_a_signed_out_user_may_sign_in_again(api: Api, admin: Signed, bob: Signed) -> None:
    assert (await admin.call("DELETE", f"/v1/admin/users/{bob.user_id}/sign-ins")).status == 204
    assert (await bob.call("GET", "/v1/me")).status == 401
    assert api.log.ended() == [""]
    await api.sign_in("bob")


# ---- users


async def test_users_are_found_by_part_of_a_name_or_by_id_or_listed_page_by_page(
    api: Api, admin: Signed, bob: Signed
) -> None:
    await api.register("bobby", display_name="Bobby Tables")
    by_part = (await admin.call("GET", "/v1/admin/users?part=bob")).body["users"]
    assert [user["name"] for user in by_part] == ["bob", "bobby"]
    by_id = (await admin.call("GET", f"/v1/admin/users?user_id={admin.user_id}")).body["users"]
    assert by_id == [
        {
            "user_id": admin.user_id,
            "name": "admin",
            "display_name": "admin",
            "created_at_ms": api.clock.now_ms,
            "is_admin": True,
            "suspended_at_ms": None,
            "suspended_reason": "",
        }
    ]
    assert (await admin.call("GET", "/v1/admin/users?user_id=99")).body == {"users": [], "next": None}
    newest = (await admin.call("GET", "/v1/admin/users?limit=1")).body
    assert [user["name"] for user in newest["users"]] == ["bobby"]
    await api.accounts.delete_user(int(bob.user_id))
    others = (await admin.call("GET", f"/v1/admin/users?cursor={newest['next']}")).body
    assert ([user["name"] for user in others["users"]], others["next"]) == (["admin"], None)


async def test_an_account_has_its_sign_ins_newest_first(api: Api, admin: Signed, bob: Signed) -> None:
    api.clock.now_ms += 1_000
    body = {"name": "bob", "password": PASSWORD, "device_name": "phone"}
    assert (await api.call("POST", "/v1/tokens", body)).status == 200
    account = (await admin.call("GET", f"/v1/admin/users/{bob.user_id}")).body
    assert account["name"] == "bob"
    assert [(each["device_name"], each["created_at_ms"]) for each in account["sign_ins"]] == [
        ("phone", api.clock.now_ms),
        ("", api.clock.now_ms - 1_000),
    ]
    assert (await admin.call("GET", "/v1/admin/users/99")).status == 404


async def test_a_created_account_gets_its_password_by_a_link_that_no_admin_needs_to_know(
    api: Api, admin: Signed
) -> None:
    created = await admin.call("POST", "/v1/admin/users", {"name": "Carol", "display_name": "Carol C."})
    assert (created.status, created.body["user"]["name"]) == (201, "carol")
    link = created.body["password_reset"]
    assert link["expires_at_ms"] == api.clock.now_ms + 24 * 60 * 60 * 1000
    body = {"token": link["token"], "password": PASSWORD}
    assert (await api.call("POST", "/v1/password-resets", body)).status == 200
    assert (await api.sign_in("carol"))["user"]["display_name"] == "Carol C."
    taken = await admin.call("POST", "/v1/admin/users", {"name": "carol"})
    assert taken.refusal == (409, "name_taken", "name")
    target = f"carol ({created.body['user']['user_id']})"
    assert await acts(api) == [(admin.in_log, act, target, "") for act in ("add_user", "reset_password")]


@pytest.mark.parametrize(
    ("method", "path", "body", "write"),
    [("PUT", "suspension", {"reason": "spam"}, "suspend"), ("DELETE", "sign-ins", None, "end_families")],
)
async def test_an_admin_who_disconnects_while_sessions_end_leaves_none(
    api: Api, admin: Signed, bob: Signed, method: str, path: str, body: Any, write: str
) -> None:
    act = partial(admin.call, method, f"/v1/admin/users/{bob.user_id}/{path}", body)
    await disconnect_after_write(api.accounts, write, act)
    ((_, envelope),) = api.log.published
    assert (envelope.sign_out.family_id, list(envelope.recipient_ids)) == ("", [int(bob.user_id)])


@pytest.mark.parametrize(
    ("method", "path", "body", "write"),
    [("PUT", "suspension", {"reason": "spam"}, "suspend"), ("DELETE", "sign-ins", None, "end_families")],
)
async def test_sessions_end_although_the_store_s_answer_is_lost(
    api: Api,
    admin: Signed,
    bob: Signed,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: Any,
    write: str,
) -> None:
    original = getattr(api.accounts, write)

    async def lose_answer(*arguments: Any, **options: Any) -> None:
        await original(*arguments, **options)
        raise Unavailable("no answer")

    monkeypatch.setattr(api.accounts, write, lose_answer)
    assert (await admin.call(method, f"/v1/admin/users/{bob.user_id}/{path}", body)).status == 503
    assert api.log.ended() == [""]


async def test_a_password_is_reset_but_not_that_of_another_admin(api: Api, admin: Signed, bob: Signed) -> None:
    path = f"/v1/admin/users/{bob.user_id}/password-reset"
    replaced, link = [(await admin.call("POST", path)).body["token"] for _ in range(2)]
    assert (await bob.call("GET", "/v1/me")).status == 200  # until the link is used
    statuses = [
        (await api.call("POST", "/v1/password-resets", {"token": token, "password": "another password"})).status
        for token in (replaced, link)
    ]
    assert statuses == [404, 200]
    assert (await bob.call("GET", "/v1/me")).status == 401
    await api.sign_in("bob", "another password")
    kept = (await admin.call("POST", path)).body["token"]
    (user,) = await api.accounts.users([int(bob.user_id)])
    await Administration(api.accounts, api.configuration, cast(Announce, None)).make_admin(Actor(name="root"), user)
    assert (await api.call("POST", "/v1/password-resets", {"token": kept, "password": PASSWORD})).status == 404
    refused = await admin.call("POST", path)
    assert refused.refusal[:2] == (409, "out_of_order")
    assert "rookery user reset-password bob" in refused.body["detail"]


async def test_a_link_ends_with_the_role_of_its_creator_and_is_for_no_admin(
    api: Api, admin: Signed, bob: Signed
) -> None:
    link = (await admin.call("POST", f"/v1/admin/users/{bob.user_id}/password-reset")).body["token"]
    body = {"token": link, "password": "another password"}
    await api.accounts.make_admin(int(bob.user_id))  # at the same moment, so that it does not withdraw the link
    assert (await api.call("POST", "/v1/password-resets", body)).refusal == (404, "not_found", "token")
    await api.accounts.revoke_admin(int(bob.user_id))
    await api.accounts.revoke_admin(int(admin.user_id))
    for token in (link, link.rpartition(".")[0], link.replace(admin.user_id, bob.user_id), f"{link}9"):
        reply = await api.call("POST", "/v1/password-resets", body | {"token": token})
        assert reply.refusal == (404, "not_found", "token"), token
    await api.accounts.make_admin(int(admin.user_id))
    assert (await api.call("POST", "/v1/password-resets", body)).status == 200


async def test_a_deleted_account_is_gone_and_every_gateway_learns_it(api: Api, admin: Signed, bob: Signed) -> None:
    path = f"/v1/admin/users/{bob.user_id}"
    reset = (await admin.call("POST", f"{path}/password-reset")).body["token"]
    for _ in range(2):
        assert (await admin.call("DELETE", path)).status == 204
    assert (await bob.call("GET", "/v1/me")).status == 401
    assert (await api.call("POST", "/v1/tokens", {"name": "bob", "password": PASSWORD})).status == 401
    refresh = {"refresh_token": bob.tokens["refresh_token"]}
    assert (await api.call("POST", "/v1/tokens/refresh", refresh)).status == 401
    assert (await api.call("POST", "/v1/password-resets", {"token": reset, "password": PASSWORD})).status == 404
    assert (await api.call("POST", "/v1/users", {"name": "bob", "password": PASSWORD})).status == 409
    for method, address in (
        ("GET", path),
        ("POST", f"{path}/password-reset"),
        ("DELETE", f"{path}/suspension"),
        ("DELETE", "/v1/admin/users/99"),
    ):
        assert (await admin.call(method, address)).status == 404, address
    assert (await admin.call("GET", f"/v1/admin/users?user_id={bob.user_id}")).body["users"] == []
    assert [partition for partition, _ in api.log.published] == [*range(api.log.partitions)] * 2
    assert all(envelope.sign_out.is_deleted for _, envelope in api.log.published)
    assert [act for _, act, _, _ in await acts(api)] == ["reset_password", "delete_user", "delete_user"]
    assert api.groups.left == [int(bob.user_id)] * 2


# ---- invites


async def test_invites_are_created_listed_and_revoked(api: Api, admin: Signed, bob: Signed) -> None:
    created = (await admin.call("POST", "/v1/admin/invites", {"uses": 3, "days": 2.0})).body
    invite, day_ms = created["invite"], 24 * 60 * 60 * 1000
    assert invite == {
        "invite_id": invite["invite_id"],
        "created_by": admin.in_log,
        "created_at_ms": api.clock.now_ms,
        "expires_at_ms": api.clock.now_ms + 2 * day_ms,
        "uses": 3,
        "uses_left": 3,
    }
    listed = await admin.call("GET", "/v1/admin/invites")
    assert listed.body == {"invites": [invite]}
    assert created["token"].encode() not in listed.text
    path = f"/v1/admin/invites/{invite['invite_id']}"
    assert [(await admin.call("DELETE", path)).status for _ in range(2)] == [204, 404]
    assert (await admin.call("GET", "/v1/admin/invites")).body == {"invites": []}
    assert await acts(api) == [
        (admin.in_log, "create_invite", invite["invite_id"], "uses: 3, days: 2"),
        (admin.in_log, "revoke_invite", invite["invite_id"], ""),
    ]
    for body in ({"uses": 0}, {"uses": 10_001}, {"days": 0}, {"days": 366}, {"uses": "3"}):
        assert (await admin.call("POST", "/v1/admin/invites", body)).status in (400, 422), body


async def test_the_number_of_unexpired_invites_is_bounded(
    api: Api, admin: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(administration, "MAX_INVITES", 2)
    statuses = [(await admin.call("POST", "/v1/admin/invites", {})).status for _ in range(3)]
    assert statuses == [201, 201, 409]
    api.clock.now_ms += 7 * 24 * 60 * 60 * 1000
    assert (
        await api.call("POST", "/v1/admin/invites", {}, token=(await api.sign_in("admin"))["access_token"])
    ).status == 201


# ---- live configuration


async def test_a_value_is_set_and_unset_and_its_history_names_the_admin(api: Api, admin: Signed) -> None:
    path = "/v1/admin/configuration/max_text_bytes"
    assert (await admin.call("PUT", path, {"value": 100})).status == 204
    values = {each["key"]: each for each in (await admin.call("GET", "/v1/admin/configuration")).body["values"]}
    assert values.keys() == LiveConfiguration.model_fields.keys()
    assert values["max_text_bytes"] == {
        "key": "max_text_bytes",
        "value": 100,
        "default": 16384,
        "is_set": True,
        "description": LiveConfiguration.model_fields["max_text_bytes"].description,
        "bounds": "a whole number from 1 to 524288",
    }
    assert not values["tail_seconds"]["is_set"]
    assert (await admin.call("DELETE", path)).status == 204
    history = (await admin.call("GET", "/v1/admin/configuration/history")).body
    assert [(each["by"], each["key"], each["old"], each["new"]) for each in history["changes"]] == [
        (admin.in_log, "max_text_bytes", 100, None),
        (admin.in_log, "max_text_bytes", None, 100),
    ]
    assert history["next"] is None
    assert await acts(api) == [
        (admin.in_log, "set_configuration", "max_text_bytes", "100"),
        (admin.in_log, "unset_configuration", "max_text_bytes", ""),
    ]


async def test_a_key_may_have_a_text_value(admin: Signed) -> None:
    assert (await admin.call("PUT", "/v1/admin/configuration/log_level", {"value": "debug"})).status == 204
    values = (await admin.call("GET", "/v1/admin/configuration")).body["values"]
    assert [each["value"] for each in values if each["key"] == "log_level"] == ["debug"]


@pytest.mark.parametrize(
    ("key", "body", "status", "words"),
    [
        ("max_text_bytes", {"value": 0}, 422, "a whole number from 1 to 524288"),
        ("max_text_bytes", {"value": "many"}, 422, "a whole number from 1 to 524288"),
        ("max_text_bytes", {"value": True}, 400, "The value must be a number or text."),
        ("max_text_bytes", {"value": [1]}, 400, "The value must be a number or text."),
        ("max_text_bytes", {}, 400, "The value is missing."),
        ("max_text_bytes", {"value": 32_769}, 422, "max_frame_bytes (65536) must be at least twice max_text_bytes"),
        ("log_levels", {"value": "x" * 10_001}, 422, "The value must have at most 10000 characters."),
        ("log_level", {"value": "loud"}, 422, "log_level must be"),
        ("max_text", {"value": 1}, 404, "did you mean 'max_text_bytes'?"),
    ],
)
async def test_an_invalid_value_is_refused(
    api: Api, admin: Signed, key: str, body: Any, status: int, words: str
) -> None:
    reply = await admin.call("PUT", f"/v1/admin/configuration/{key}", body)
    assert (reply.status, words in reply.body["detail"]) == (status, True), reply.body
    assert reply.body["field"] == ("key" if status == 404 else "value")
    assert dict(await api.configuration.load()) == {}
    assert await acts(api) == []


async def test_a_stored_unknown_key_can_be_unset_and_a_missing_one_can_not(api: Api, admin: Signed) -> None:
    assert (await admin.call("DELETE", "/v1/admin/configuration/of_old")).status == 404
    await api.configuration.set("of_old", "1")
    assert (await admin.call("DELETE", "/v1/admin/configuration/of_old")).status == 204
    assert dict(await api.configuration.load()) == {}


# ---- audit


async def test_every_act_is_in_the_audit_log_in_order_and_in_the_logs(
    api: Api, admin: Signed, bob: Signed, lines: list[Any]
) -> None:
    user = f"/v1/admin/users/{bob.user_id}"
    await admin.call("PUT", f"{user}/suspension", {"reason": "spam"})
    await admin.call("DELETE", f"{user}/suspension")
    await admin.call("DELETE", f"{user}/sign-ins")
    await admin.call("GET", user)
    log = (await admin.call("GET", "/v1/admin/audit")).body
    expected = [("sign_out_user", ""), ("restore_user", ""), ("suspend_user", "spam")]
    assert [(entry["act"], entry["detail"]) for entry in log["entries"]] == expected
    for entry in log["entries"]:
        assert entry["actor"] == {"user_id": admin.user_id, "name": "admin"}
        assert (entry["target"], entry["address"]) == (bob.in_log, "192.0.2.1")
    logged = [line for line in lines if line["event"] == "admin_act"]
    assert [(line["act"], line["target"], line["actor"]) for line in logged] == [
        (act, bob.in_log, "admin") for act, _ in reversed(expected)
    ]


@pytest.mark.parametrize("address", ["2001:db8::1:2", "192.0.2.7"])
async def test_the_audit_log_has_the_whole_address_of_an_admin_and_of_a_user_who_deletes_the_account(
    api: Api, admin: Signed, bob: Signed, address: str
) -> None:
    sign_ins = f"/v1/admin/users/{admin.user_id}/sign-ins"
    confirmation = {"current_password": PASSWORD}
    assert (await api.call("DELETE", sign_ins, token=admin.tokens["access_token"], address=address)).status == 204
    assert (
        await api.call("POST", "/v1/me/deletion", confirmation, token=bob.tokens["access_token"], address=address)
    ).status == 204
    entries = await api.accounts.audit_entries(limit=9)
    assert [(entry.actor.name, entry.actor.address) for entry in entries] == [("bob", address), ("admin", address)]


@pytest.mark.parametrize(
    ("path", "entries", "value"), [("configuration/history", "changes", "new"), ("audit", "entries", "detail")]
)
async def test_pages_of_history_and_audit_log_follow_each_other(
    api: Api, admin: Signed, path: str, entries: str, value: str
) -> None:
    for number in range(1, 6):
        await admin.call("PUT", "/v1/admin/configuration/max_text_bytes", {"value": number})
    seen, query = [], "?limit=2"
    while True:
        page = (await admin.call("GET", f"/v1/admin/{path}{query}")).body
        seen += [int(each[value]) for each in page[entries]]
        if page["next"] is None:
            break
        query = f"?limit=2&before={page['next']}"
    assert seen == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "path",
    [
        *("users?cursor=x", "users?part=bob&user_id=1", "users?part=", "users?user_id=x", "users?who=bob"),
        *("audit?before=x", "audit?before=" + "9" * 29, "audit?limit=0", "audit?limit=101"),
    ],
)
async def test_an_invalid_query_is_refused(admin: Signed, path: str) -> None:
    reply = await admin.call("GET", f"/v1/admin/{path}")
    assert reply.status in (400, 422)
    assert reply.body["detail"]


async def test_an_act_that_can_not_be_recorded_is_not_done(
    api: Api, admin: Signed, bob: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(_: object, entry: AuditEntry) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(type(api.accounts), "add_audit_entry", down)
    user = f"/v1/admin/users/{bob.user_id}"
    for method, path, body in (
        ("PUT", f"{user}/suspension", {"reason": "spam"}),
        ("DELETE", f"{user}/suspension", None),
        ("DELETE", f"{user}/sign-ins", None),
        ("DELETE", user, None),
        ("POST", f"{user}/password-reset", None),
        ("POST", "/v1/admin/users", {"name": "carol"}),
        ("POST", "/v1/admin/invites", {}),
        ("PUT", "/v1/admin/configuration/max_text_bytes", {"value": 5}),
        ("DELETE", "/v1/admin/configuration/max_text_bytes", None),
    ):
        reply = await admin.call(method, path, body)
        assert reply.refusal[:2] == (503, "unavailable"), path
    assert (await bob.call("GET", "/v1/me")).status == 200
    assert dict(await api.configuration.load()) == {}
    assert api.log.published == []


# ---- processes


async def test_processes_are_listed_with_the_owners_of_partitions(api: Api, admin: Signed) -> None:
    stats = ProcessStats({"websocket": 3, "grpc": 1}, [0, 2], {0: 7})
    await api.services.processes.put(ProcessReport("gateway-1", "gateway", "1.2", 5, True, stats))
    await api.services.processes.put(ProcessReport("bff-1", "bff", "1.2", 6, False, ProcessStats()))
    listed = (await admin.call("GET", "/v1/admin/processes")).body
    bff, gateway = listed["processes"]
    assert gateway == {
        "instance": "gateway-1",
        "role": "gateway",
        "version": "1.2",
        "started_at_ms": 5,
        "seen_at_ms": api.clock.now_ms,
        "ready": True,
        "sessions": {"websocket": 3, "grpc": 1},
        "owned": [0, 2],
        "lag": {"0": 7},
    }
    assert (bff["instance"], bff["ready"], bff["sessions"], bff["owned"], bff["lag"]) == ("bff-1", False, *[None] * 3)
    owners = [(each["partition"], each["owner"]) for each in listed["partitions"]]
    assert owners == [(0, "gateway-1"), (1, None), (2, "gateway-1"), (3, None)]
    assert listed["now_ms"] == api.clock.now_ms


async def test_processes_are_unavailable_while_their_store_is(
    api: Api, admin: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: object) -> None:
        raise Unavailable("Redis is away")

    monkeypatch.setattr(type(api.services.processes), "all", away)
    reply = await admin.call("GET", "/v1/admin/processes")
    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (503, "unavailable", "1")


async def test_the_newer_of_two_reports_of_an_owned_partition_counts(api: Api, admin: Signed) -> None:
    for name in ("gateway-2", "gateway-1"):
        await api.services.processes.put(ProcessReport(name, "gateway", "1", 5, True, ProcessStats(owned=[1])))
        api.clock.now_ms += 1_000
    listed = (await admin.call("GET", "/v1/admin/processes")).body
    assert listed["partitions"][1] == {"partition": 1, "owner": "gateway-1"}


# ---- reports


async def test_a_report_has_the_name_of_its_group_if_the_archive_answers(api: Api, admin: Signed) -> None:
    for number, chat_id in enumerate(("g-5", "g-5", "d-1-2", ""), start=1):
        await api.accounts.add_report(Report(number << 22, 1, 2, chat_id, "[]", "Rude."))
    api.archive.response = GetGroupResponse(group=Group(settings=GroupSettings(name="Rowing")))
    for name in ("Rowing", ""):
        page = (await admin.call("GET", "/v1/admin/reports")).body
        assert [each["chat_name"] for each in page["reports"]] == [name, name, "", ""]
        assert api.archive.requests == [GetGroupRequest(chat_id="g-5")]
        api.archive.requests.clear()
        api.archive.response = Refusal(Code.UNAVAILABLE, "The store does not answer.")


async def test_a_silent_archive_does_not_keep_an_admin_from_the_reports(
    api: Api, admin: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: GetGroupRequest) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(routes, "NAMES_SECONDS", 0.01)
    monkeypatch.setattr(api.archive, "get_group", never)
    await api.accounts.add_report(Report(1 << 22, 1, 2, "g-5", "[]", "Rude."))
    (report,) = (await admin.call("GET", "/v1/admin/reports")).body["reports"]
    assert (report["chat_id"], report["chat_name"]) == ("g-5", "")


async def test_a_report_is_read_with_its_users_and_closed_once(api: Api, admin: Signed, bob: Signed) -> None:
    eve = await sign_up(api, "eve")
    messages = json.dumps([{"message": {"message_id": "9", "sender_id": eve.user_id, "text": {"body": "Rude."}}}])
    stored = [
        Report(number << 22, int(bob.user_id), int(eve.user_id), "d-1-2", messages, "Rude.") for number in (1, 2, 3)
    ]
    for report in stored:
        await api.accounts.add_report(report)
    page = (await admin.call("GET", "/v1/admin/reports?limit=2")).body
    assert [each["report_id"] for each in page["reports"]] == [str(1 << 22), str(2 << 22)]
    assert page["reports"][0]["messages"] == json.loads(messages)
    assert {user["name"] for user in page["users"]} == {"bob", "eve"}
    rest = (await admin.call("GET", f"/v1/admin/reports?after={page['next']}")).body
    assert ([each["report_id"] for each in rest["reports"]], rest["next"]) == ([str(3 << 22)], None)

    close = partial(admin.call, "POST", f"/v1/admin/reports/{2 << 22}")
    assert (await close({"resolution": "handled", "note": "Warned."})).status == 204
    assert (await close({"resolution": "dismissed"})).refusal[:2] == (409, "out_of_order")
    assert (await close({"resolution": "ignored"})).refusal == (422, "invalid", "resolution")
    unknown = await admin.call("POST", "/v1/admin/reports/99", {"resolution": "dismissed"})
    assert unknown.refusal == (404, "not_found", "report_id")
    (closed,) = (await admin.call("GET", "/v1/admin/reports?state=closed")).body["reports"]
    found = {key: closed[key] for key in ("report_id", "resolution", "note", "closed_by", "closed_at_ms")}
    assert found == {
        "report_id": str(2 << 22),
        "resolution": "handled",
        "note": "Warned.",
        "closed_by": admin.user_id,
        "closed_at_ms": api.clock.now_ms,
    }
    assert await acts(api) == [(admin.in_log, "close_report", str(2 << 22), "handled: Warned.")]
