"""Accounts and sign-ins over HTTP: the promises of each route."""

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import structlog
import trio

from bff import accounts, gateways
from rookery.v1.signals_pb2 import Signal
from shared.accounts import tokens as auth
from shared.accounts.links import Invite, new_link
from shared.accounts.sign_outs import ALL_SIGN_INS
from shared.accounts.store import UnconfirmedEnd
from shared.accounts.tokens import PasswordHasher, digest
from shared.configuration import StoredValue
from shared.contract.errors import Unavailable
from shared.contract.partitions import partition_of
from shared.coordination.ownership import WAITED_RETRY_MS
from tests.bff.conftest import PASSWORD, Api, Reply, disconnect_after_write
from tests.waiting import until

DAY_MS = 24 * 60 * 60 * 1000

CONFIRMATION = {"current_password": PASSWORD}

CHANGE = {"current_password": PASSWORD, "new_password": "another password"}


async def unavailable(*_: object, **__: object) -> None:
    """A method of a store that is down."""
    raise Unavailable("the disk is gone")


# ---- registration


async def test_a_new_account_is_returned_in_full(api: Api) -> None:
    user = await api.register("alice", display_name="Alice L.")
    assert user == {
        "user_id": user["user_id"],
        "name": "alice",
        "display_name": "Alice L.",
        "about": "",
        "avatar": "",
        "version": 1,
        "is_admin": False,
        "created_at_ms": str(api.clock.now_ms),
        "who_may_start": "everyone",
        "shows_presence": True,
        "shows_read_marks": True,
    }
    assert int(user["user_id"]) > 0


async def test_a_name_is_stored_in_lower_case(api: Api) -> None:
    user = await api.register("Alice.B-c_9")
    assert user["name"] == "alice.b-c_9"
    assert user["display_name"] == "alice.b-c_9"


async def test_a_name_is_taken_once(api: Api) -> None:
    await api.register("alice")
    reply = await api.call("POST", "/v1/users", {"name": "ALICE", "password": PASSWORD})
    assert reply.status == 409
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.body == {
        "type": "/docs#name_taken",
        "title": "Name taken",
        "status": 409,
        "detail": "The name alice is taken.",
        "code": "name_taken",
        "field": "name",
    }


async def test_a_password_is_never_stored_or_returned(api: Api) -> None:
    user = await api.register("alice")
    stored = await api.accounts.password_hash(int(user["user_id"]))
    assert stored is not None
    assert PASSWORD not in stored
    reply = await api.call("POST", "/v1/users", {"name": "al", "password": "hunter2hunter2", "extra": 1})
    assert b"hunter2" not in reply.text


# ---- invites


@pytest.fixture
async def invite(api: Api) -> str:
    """The token of an invite with two uses, while sign-up is by invite."""
    api.services.live.apply({"sign_up": StoredValue("sign_up", '"invite"', 0)})
    link = new_link("one")
    ends_at_ms = api.clock.now_ms + DAY_MS
    await api.accounts.add_invite(Invite("one", "ada (7)", api.clock.now_ms, ends_at_ms, 2, 2), link.digest)
    return link.token


async def test_while_sign_up_is_by_invite_each_account_takes_one_use(api: Api, invite: str) -> None:
    account = {"name": "alice", "password": PASSWORD}
    for wrong in ({}, {"invite": "one.x"}, {"invite": "x"}, {"invite": invite + "x"}):
        refused = await api.call("POST", "/v1/users", account | wrong)
        assert refused.refusal == (403, "invite_required", "invite")
    await api.register("alice", invite=invite)
    taken = await api.call("POST", "/v1/users", account | {"invite": invite})
    assert taken.refusal[:2] == (409, "name_taken")  # this took no use
    await api.register("bob", invite=invite)
    assert (
        await api.call("POST", "/v1/users", {"name": "carol", "password": PASSWORD, "invite": invite})
    ).status == 403


async def test_an_invite_expires_and_while_sign_up_is_open_none_is_needed(api: Api, invite: str) -> None:
    api.clock.now_ms += DAY_MS
    account = {"name": "alice", "password": PASSWORD, "invite": invite}
    assert (await api.call("POST", "/v1/users", account)).refusal[:2] == (403, "invite_required")
    api.services.live.apply({})
    await api.register("alice", invite=invite)


async def test_a_client_that_disconnects_while_it_uses_an_invite_has_registered(api: Api, invite: str) -> None:
    account = {"name": "alice", "password": PASSWORD, "invite": invite}
    await disconnect_after_write(api.accounts, "use_invite", partial(api.call, "POST", "/v1/users", account))
    await api.sign_in()


# ---- password reset


async def test_a_link_sets_the_password_once_and_ends_all_sign_ins(api: Api, token: str) -> None:
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    link = new_link(str(user_id))
    await api.accounts.add_password_reset(user_id, link.digest, api.clock.now_ms + DAY_MS)
    body = {"token": link.token, "password": "another password"}
    done = await api.call("POST", "/v1/password-resets", body)
    assert (done.status, done.body["name"]) == (200, "alice")
    assert (await api.call("GET", "/v1/me", token=token)).status == 401
    assert len(api.log.ended()) == 1
    await api.sign_in(password="another password")
    again = await api.call("POST", "/v1/password-resets", body | {"password": "a third password"})
    assert again.refusal == (404, "not_found", "token")
    await api.sign_in(password="another password")


async def test_links_that_could_not_be_checked_are_no_guesses(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    link = new_link(str(user_id))
    await api.accounts.add_password_reset(user_id, link.digest, api.clock.now_ms + DAY_MS)
    body = {"token": link.token, "password": "another password"}
    with monkeypatch.context() as patch:
        patch.setattr(api.accounts, "use_password_reset", unavailable)
        for _ in range(30):
            assert (await api.call("POST", "/v1/password-resets", body)).status == 503
    assert (await api.call("POST", "/v1/password-resets", body)).status == 200


async def test_a_link_for_a_deleted_account_is_refused(api: Api, token: str) -> None:
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    link = new_link(str(user_id))
    await api.accounts.delete_user(user_id)
    await api.accounts.add_password_reset(user_id, link.digest, api.clock.now_ms + DAY_MS)  # made meanwhile
    body = {"token": link.token, "password": "another password"}
    assert (await api.call("POST", "/v1/password-resets", body)).refusal == (404, "not_found", "token")


async def test_guesses_of_a_link_are_limited_by_address(api: Api, token: str) -> None:
    guesses = ["1.x", "9" * 30 + ".x", "-1.x", "é.x", "1.x." + "9" * 30] * 2
    for guess in guesses:
        reply = await api.call("POST", "/v1/password-resets", {"token": guess, "password": PASSWORD})
        assert reply.refusal == (404, "not_found", "token")
    body = {"token": "1.x", "password": PASSWORD}
    assert (await api.call("POST", "/v1/password-resets", body)).refusal[:2] == (429, "rate_limited")
    assert (await api.call("POST", "/v1/password-resets", body, address="192.0.2.9")).status == 404


# ---- sign-in


async def test_a_sign_in_returns_working_tokens(api: Api) -> None:
    user = await api.register("alice")
    tokens = await api.sign_in("Alice")
    assert tokens["user"] == user
    assert tokens["token_type"] == "Bearer"
    assert tokens["access_token_expires_at_ms"] == str(api.clock.now_ms + 900_000)
    me = await api.call("GET", "/v1/me", token=tokens["access_token"])
    assert (me.status, me.body) == (200, user)
    again = await api.call("POST", "/v1/tokens", {"name": "alice", "password": PASSWORD})
    assert again.headers["Cache-Control"] == "no-store"  # no cache may keep tokens


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong password"), ("nobody", PASSWORD), ("' OR 1=1 --", "x")]
)
async def test_a_failed_sign_in_does_not_disclose_whether_the_name_or_the_password_is_wrong(
    api: Api, name: str, password: str
) -> None:
    await api.register("alice")
    reply = await api.call("POST", "/v1/tokens", {"name": name, "password": password})
    assert reply.status == 401
    assert reply.body["detail"] == "The name or the password is wrong."
    assert reply.headers["WWW-Authenticate"] == "Bearer"


# ---- refresh


async def test_a_refresh_token_is_exchanged_for_new_tokens(api: Api) -> None:
    await api.register("alice")
    old = await api.sign_in()
    new = await api.call("POST", "/v1/tokens/refresh", {"refresh_token": old["refresh_token"]})
    assert new.status == 200
    assert new.body["refresh_token"] != old["refresh_token"]
    assert (await api.call("GET", "/v1/me", token=new.body["access_token"])).status == 200
    api.clock.now_ms += 30_000  # the response was lost, for instance
    retry = await api.call("POST", "/v1/tokens/refresh", {"refresh_token": old["refresh_token"]})
    assert retry.body["refresh_token"] == new.body["refresh_token"]
    assert (await api.call("GET", "/v1/me", token=retry.body["access_token"])).status == 200
    again = await api.call("POST", "/v1/tokens/refresh", {"refresh_token": new.body["refresh_token"]})
    assert again.status == 200


async def test_a_reused_refresh_token_ends_its_sign_in_and_no_other(api: Api) -> None:
    user = await api.register("alice")
    old, other = await api.sign_in(), await api.sign_in()
    new = (await api.call("POST", "/v1/tokens/refresh", {"refresh_token": old["refresh_token"]})).body
    api.clock.now_ms += 30_001
    reuse = await api.call("POST", "/v1/tokens/refresh", {"refresh_token": old["refresh_token"]})
    assert reuse.refusal == (401, "unauthenticated", "refresh_token")
    assert (await api.call("GET", "/v1/me", token=new["access_token"])).status == 401
    assert (await api.call("POST", "/v1/tokens/refresh", {"refresh_token": new["refresh_token"]})).status == 401
    assert (await api.call("GET", "/v1/me", token=other["access_token"])).status == 200
    ((partition, envelope),) = api.log.published
    assert partition == partition_of(int(user["user_id"]), api.log.partitions)
    assert envelope.sign_out.family_id
    assert list(envelope.recipient_ids) == [int(user["user_id"])]


async def test_an_expired_or_unknown_refresh_token_is_refused(api: Api) -> None:
    await api.register("alice")
    tokens = await api.sign_in()
    api.clock.now_ms += 30 * DAY_MS
    reply = await api.call("POST", "/v1/tokens/refresh", {"refresh_token": tokens["refresh_token"]})
    assert (reply.status, reply.body["detail"]) == (401, "This sign-in has expired: sign in again.")
    assert (await api.call("POST", "/v1/tokens/refresh", {"refresh_token": "x" * 43})).status == 401


# ---- sign-out


@pytest.mark.parametrize("is_down", [False, True])
async def test_a_sign_out_ends_the_sign_in_and_is_published_if_the_log_is_up(
    api: Api, token: str, is_down: bool
) -> None:
    api.log.down = is_down
    reply = await api.call("DELETE", "/v1/tokens/current", token=token)
    assert (reply.status, reply.text) == (204, b"")
    assert (await api.call("GET", "/v1/me", token=token)).status == 401
    assert len(api.log.ended()) == (0 if is_down else 1)


@pytest.mark.parametrize("path", ["tokens/current", "me/sign-ins/{}"])
async def test_a_sign_out_whose_end_the_store_did_not_confirm_ends_the_sessions(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A repeated request finds no sign-in, and could end no session."""
    (own,) = (await api.call("GET", "/v1/me/sign-ins", token=token)).body["sign_ins"]
    end_family = api.accounts.end_family

    async def lose_answer(family_id: str) -> None:
        await end_family(family_id)
        raise Unavailable("no answer")

    monkeypatch.setattr(api.accounts, "end_family", lose_answer)
    path = "/v1/" + path.format(own["sign_in_id"])
    assert (await api.call("DELETE", path, token=token)).status == 503
    assert (await api.call("DELETE", path, token=token)).status == 401
    assert api.log.ended() == [own["sign_in_id"]]


async def test_an_end_of_the_other_sign_ins_that_the_store_did_not_confirm_ends_their_sessions(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The BFF does not know the ended sign-ins: all sessions end, and the clients of the kept sign-in reconnect."""
    other = (await api.sign_in())["access_token"]
    end_families = api.accounts.end_families

    async def lose_answer(user_id: int, *, except_family_id: str) -> None:
        await end_families(user_id, except_family_id=except_family_id)
        raise Unavailable("no answer")

    monkeypatch.setattr(api.accounts, "end_families", lose_answer)
    assert (await api.call("DELETE", "/v1/me/sign-ins/others", token=token)).status == 503
    assert [(await api.call("GET", "/v1/me", token=each)).status for each in (token, other)] == [200, 401]
    assert api.log.ended() == list(ALL_SIGN_INS)


@pytest.mark.parametrize(
    ("method", "path", "body", "write"),
    [
        ("DELETE", "/v1/tokens/current", None, "end_family"),
        ("DELETE", "/v1/me/sign-ins/others", None, "end_families"),
        ("PUT", "/v1/me/password", CHANGE, "set_password"),
    ],
)
async def test_a_client_that_disconnects_while_sign_ins_end_leaves_no_session(
    api: Api, token: str, method: str, path: str, body: Any, write: str
) -> None:
    other = (await api.sign_in())["access_token"]
    sign_ins = (await api.call("GET", "/v1/me/sign-ins", token=token)).body["sign_ins"]
    of_request = write == "end_family"
    await disconnect_after_write(api.accounts, write, partial(api.call, method, path, body, token=token))
    assert api.log.ended() == [each["sign_in_id"] for each in sign_ins if each["is_current"] == of_request]
    assert (await api.call("GET", "/v1/me", token=token if of_request else other)).status == 401


async def test_a_reuse_whose_end_the_store_does_not_confirm_ends_the_sessions(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.register("alice")
    old = (await api.sign_in())["refresh_token"]
    family = await api.accounts.family_of(digest(old))
    assert family is not None

    async def lose_answer(*_: object, **__: object) -> None:
        raise UnconfirmedEnd(family)

    monkeypatch.setattr(api.accounts, "rotate", lose_answer)
    assert (await api.call("POST", "/v1/tokens/refresh", {"refresh_token": old})).status == 503
    assert api.log.ended() == [family.family_id]


async def test_a_client_that_disconnects_while_it_reuses_a_token_leaves_no_session(api: Api, token: str) -> None:
    old = (await api.sign_in())["refresh_token"]
    await api.call("POST", "/v1/tokens/refresh", {"refresh_token": old})
    api.clock.now_ms += 30_001
    reuse = partial(api.call, "POST", "/v1/tokens/refresh", {"refresh_token": old})
    await disconnect_after_write(api.accounts, "rotate", reuse)
    assert len(api.log.ended()) == 1


async def test_a_client_that_disconnects_while_it_uses_a_link_has_set_the_password(api: Api, token: str) -> None:
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    link = new_link(str(user_id))
    await api.accounts.add_password_reset(user_id, link.digest, api.clock.now_ms + DAY_MS)
    use = partial(api.call, "POST", "/v1/password-resets", {"token": link.token, "password": "another password"})
    await disconnect_after_write(api.accounts, "use_password_reset", use)
    assert len(api.log.ended()) == 1
    await api.sign_in(password="another password")


# ---- access tokens


async def test_an_expired_access_token_is_refused(api: Api, token: str) -> None:
    api.clock.now_ms += 900_000
    reply = await api.call("GET", "/v1/me", token=token)
    assert (reply.status, reply.body["detail"]) == (401, "The access token has expired: refresh it.")


async def test_an_invalid_access_token_or_one_in_the_url_is_refused(api: Api, token: str) -> None:
    for header in ("", "Bearer", "Bearer ", "Basic YWxpY2U6eA==", "Bearer x.y.z", "bearer null", "x" * 9_000):
        for method, path in (
            ("GET", "/v1/me"),
            ("GET", "/v1/chats"),
            ("GET", "/v1/profiles/1"),
            ("DELETE", "/v1/tokens/current"),
        ):
            reply = await api.call(method, f"{path}?access_token={token}", headers={"Authorization": header})
            assert reply.refusal[:2] == (401, "unauthenticated")


async def test_sign_ins_of_one_account_are_limited_also_with_its_password(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "SIGN_INS_PER_HOUR", 2)
    await api.register("bob")
    body = {"name": "bob", "password": PASSWORD}
    replies = [await api.call("POST", "/v1/tokens", body) for _ in range(3)]
    assert [reply.status for reply in replies[:2]] == [200] * 2
    assert replies[2].refusal[:2] == (429, "rate_limited")
    assert 0 < replies[2].body["retry_after_ms"] <= 1_800_000
    bob = replies[0].body["access_token"]
    assert len((await api.call("GET", "/v1/me/sign-ins", token=bob)).body["sign_ins"]) == 2
    assert "access_token" in await api.sign_in()


async def test_sign_ins_at_one_address_keep_no_other_from_signing_in(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "MAX_HASHES_OF_CLIENT", 2)
    monkeypatch.setattr(auth, "MAX_WAITING_HASHES", 4)
    goes_on, matches = threading.Event(), PasswordHasher._matches
    replies: list[Reply] = []
    monkeypatch.setattr(PasswordHasher, "_matches", lambda *given: goes_on.wait(20) and matches(*given))

    async def sign_in(address: str) -> None:
        body = {"name": "alice", "password": PASSWORD}
        replies.append(await api.call("POST", "/v1/tokens", body, address=address))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(sign_in, "192.0.2.1")
        await until(lambda: len(replies) == 6)
        nursery.start_soon(sign_in, "192.0.2.2")
        await until(lambda: api.services.passwords.waiting == 1)
        goes_on.set()
    assert [reply.status for reply in replies] == [429] * 6 + [200] * 3
    assert replies[0].body["retry_after_ms"] == 1_000


async def test_passwords_that_are_refused_unchecked_are_no_attempts(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither registrations nor failed sign-ins, nor failures of the store."""
    for key in ("registrations_per_minute", "sign_ins_per_minute"):
        api.services.live.apply({key: StoredValue(key, "1", 0)})
    bodies = {"/v1/users": {"name": "bob"}, "/v1/tokens": {"name": "alice"}}
    with structlog.testing.capture_logs() as logs:
        for most, statuses in ((0, [429, 429]), (8, [201, 200])):
            monkeypatch.setattr(auth, "MAX_HASHES_OF_CLIENT", most)
            replies = [
                await api.call("POST", path, body | {"password": PASSWORD}, address="192.0.2.1")
                for path, body in bodies.items()
            ]
            assert [reply.status for reply in replies] == statuses
    assert "store_unavailable" not in [line["event"] for line in logs]


# ---- the user's own


async def test_a_profile_changes_in_part_and_its_version_rises(api: Api, token: str) -> None:
    first = await api.call("PATCH", "/v1/me", {"about": "here", "version": 1}, token=token)
    assert (first.body["about"], first.body["display_name"], first.body["version"]) == ("here", "alice", 2)
    second = await api.call("PATCH", "/v1/me", {"display_name": "Al", "version": 2}, token=token)
    assert (second.body["about"], second.body["display_name"], second.body["version"]) == ("here", "Al", 3)
    assert (await api.call("GET", "/v1/me", token=token)).body == second.body
    settings = {"who_may_start": "connections", "shows_presence": False}
    third = await api.call("PATCH", "/v1/me", {**settings, "version": 3}, token=token)
    assert third.body == {**second.body, **settings, "version": 4}
    fourth = await api.call("PATCH", "/v1/me", {"about": "", "version": 4}, token=token)
    assert fourth.body.items() >= settings.items()


async def test_new_display_names_of_a_user_are_limited(api: Api, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other changes of the profile are not, nor is the present name."""
    monkeypatch.setattr(accounts, "RENAMES_PER_HOUR", 2)

    async def change(version: int, **profile: str) -> Reply:
        return await api.call("PATCH", "/v1/me", {**profile, "version": version}, token=token)

    names = ["one", "two", "two", "three"]
    replies = [await change(version, display_name=name) for version, name in enumerate(names, 1)]
    assert [reply.status for reply in replies[:3]] == [200] * 3
    assert replies[3].refusal[:2] == (429, "rate_limited")
    assert 0 < replies[3].body["retry_after_ms"] <= 1_800_000
    assert (await change(4, about="still here")).body["display_name"] == "two"


async def test_a_change_of_an_old_version_is_a_conflict(api: Api, token: str) -> None:
    await api.call("PATCH", "/v1/me", {"about": "first", "version": 1}, token=token)
    for version in (1, 3):
        reply = await api.call("PATCH", "/v1/me", {"about": "second", "version": version}, token=token)
        assert reply.refusal == (409, "version_conflict", "version")
    assert (await api.call("GET", "/v1/me", token=token)).body["about"] == "first"


async def test_an_unchanged_account_is_not_sent_again(api: Api, token: str) -> None:
    etag = (await api.call("GET", "/v1/me", token=token)).headers["ETag"]
    same = await api.call("GET", "/v1/me", token=token, headers={"If-None-Match": etag})
    assert (same.status, same.text) == (304, b"")
    changed = await api.call("PATCH", "/v1/me", {"about": "new", "version": 1}, token=token)
    assert changed.headers["ETag"] != etag
    assert (await api.call("GET", "/v1/me", token=token, headers={"If-None-Match": etag})).status == 200


async def test_a_changed_password_ends_the_other_sign_ins_and_their_sessions(api: Api, token: str) -> None:
    others = [await api.sign_in(), await api.sign_in()]
    change = {"current_password": PASSWORD, "new_password": "another password"}
    assert (await api.call("PUT", "/v1/me/password", change, token=token)).status == 200
    assert (await api.call("GET", "/v1/me", token=token)).status == 200
    for other in others:
        assert (await api.call("GET", "/v1/me", token=other["access_token"])).status == 401
    assert len(set(api.log.ended())) == 2
    assert "" not in api.log.ended()
    assert (await api.call("POST", "/v1/tokens", {"name": "alice", "password": PASSWORD})).status == 401
    await api.sign_in(password="another password")


@pytest.mark.parametrize(
    ("method", "path", "body", "refusal"),
    [
        ("POST", "/v1/tokens", {"name": "alice", "password": PASSWORD}, (401, "unauthenticated", "")),
        ("PUT", "/v1/me/password", CHANGE, (403, "forbidden", "current_password")),
        ("POST", "/v1/me/deletion", CONFIRMATION, (403, "forbidden", "current_password")),
    ],
    ids=["a sign-in", "a change", "a deletion"],
)
async def test_a_request_with_the_former_password_that_is_under_way_has_no_effect_after_a_change(
    api: Api,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: dict[str, str],
    refusal: tuple[int, str, str],
) -> None:
    async def change_password() -> None:
        change = {"current_password": PASSWORD, "new_password": "the user's password"}
        assert (await api.call("PUT", "/v1/me/password", change, token=token)).status == 200

    other = (await api.sign_in())["access_token"]
    request = partial(api.call, method, path, body, token=other)
    assert (await overtaken(monkeypatch, request, change_password)).refusal == refusal
    assert len((await api.call("GET", "/v1/me/sign-ins", token=token)).body["sign_ins"]) == 1
    await api.sign_in(password="the user's password")


@pytest.mark.parametrize(
    ("method", "path", "body"), [("PUT", "/v1/me/password", CHANGE), ("POST", "/v1/me/deletion", CONFIRMATION)]
)
@pytest.mark.parametrize(("is_suspended", "status"), [(True, 403), (False, 401)])
async def test_a_confirmed_request_that_is_under_way_has_no_effect_after_the_end_of_its_sign_in(
    api: Api,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: dict[str, str],
    is_suspended: bool,
    status: int,
) -> None:
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])

    async def end() -> None:
        if is_suspended:
            await api.accounts.suspend(user_id, "spam", api.clock.now_ms)
        else:
            await api.accounts.end_families(user_id)

    assert (await overtaken(monkeypatch, partial(api.call, method, path, body, token=token), end)).status == status
    await api.accounts.restore(user_id)
    await api.sign_in()


async def overtaken(
    monkeypatch: pytest.MonkeyPatch, request: Callable[[], Awaitable[Reply]], act: Callable[[], Awaitable[None]]
) -> Reply:
    """Make a request, and act when its password has been verified."""
    verified, has_acted = trio.Event(), trio.Event()
    verify = PasswordHasher.verify

    async def verify_slowly(self: PasswordHasher, *given: Any) -> bool:
        monkeypatch.setattr(PasswordHasher, "verify", verify)  # for the next one
        correct = await verify(self, *given)
        verified.set()
        await has_acted.wait()
        return correct

    async def make() -> None:
        replies.append(await request())

    replies: list[Reply] = []
    monkeypatch.setattr(PasswordHasher, "verify", verify_slowly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        await verified.wait()
        await act()
        has_acted.set()
    return replies[0]


@pytest.mark.parametrize("path", ["others", ""])
async def test_the_user_s_sign_ins_are_listed_and_can_be_ended(api: Api, token: str, path: str) -> None:
    body = {"name": "alice", "password": PASSWORD, "device_name": "phone"}
    phone = (await api.call("POST", "/v1/tokens", body)).body
    api.clock.now_ms += 1_000
    phone = (await api.call("POST", "/v1/tokens/refresh", {"refresh_token": phone["refresh_token"]})).body
    listed = (await api.call("GET", "/v1/me/sign-ins", token=phone["access_token"])).body["sign_ins"]
    assert sorted((each["device_name"], each["is_current"], each["last_seen_at_ms"]) for each in listed) == [
        ("", False, str(api.clock.now_ms - 1_000)),
        ("phone", True, str(api.clock.now_ms)),
    ]
    (other_id,) = [each["sign_in_id"] for each in listed if not each["is_current"]]
    path = f"/v1/me/sign-ins/{path or other_id}"
    assert (await api.call("DELETE", path, token=phone["access_token"])).status == 204
    assert (await api.call("GET", "/v1/me", token=token)).status == 401
    assert (await api.call("GET", "/v1/me", token=phone["access_token"])).status == 200
    assert api.log.ended() == [other_id]


async def test_a_sign_in_of_another_user_can_not_be_ended(api: Api, token: str) -> None:
    await api.register("bob")
    bob = (await api.sign_in("bob"))["access_token"]
    (listed,) = (await api.call("GET", "/v1/me/sign-ins", token=token)).body["sign_ins"]
    for sign_in_id in (listed["sign_in_id"], "none"):
        reply = await api.call("DELETE", f"/v1/me/sign-ins/{sign_in_id}", token=bob)
        assert reply.refusal == (404, "not_found", "sign_in_id")
    assert (await api.call("GET", "/v1/me", token=token)).status == 200


async def test_a_changed_profile_and_a_deleted_account_are_signalled_to_the_gateways(api: Api, token: str) -> None:
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    for method, path, body, status in (
        ("PATCH", "/v1/me", {"version": 1, "shows_presence": False}, 200),
        ("PATCH", "/v1/me", {"version": 1, "about": "late"}, 409),
        ("POST", "/v1/me/deletion", {"current_password": PASSWORD}, 204),
    ):
        assert (await api.call(method, path, body, token=token)).status == status
    signals = [Signal.FromString(value).event for value in await api.signals.receive()]
    assert [each.event.profile_changed.user_id for each in signals] == [user_id] * 2
    assert all(each.is_for_watchers and each.recipient_ids == [user_id] for each in signals)


async def test_a_profile_change_that_the_store_did_not_confirm_is_signalled_to_the_gateways(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated request has an old version, and would signal nothing."""
    update_profile = api.accounts.update_profile

    async def lose_answer(user_id: int, **fields: Any) -> None:
        await update_profile(user_id, **fields)
        raise Unavailable("no answer")

    monkeypatch.setattr(api.accounts, "update_profile", lose_answer)
    body = {"version": 1, "shows_presence": False}
    assert [(await api.call("PATCH", "/v1/me", body, token=token)).status for _ in range(2)] == [503, 409]
    (signal,) = [Signal.FromString(value).event.event for value in await api.signals.receive()]
    assert signal.HasField("profile_changed")


async def test_an_account_is_deleted_by_its_user_with_the_password_but_not_an_admin_s(api: Api, token: str) -> None:
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    path, body = "/v1/me/deletion", {"current_password": PASSWORD}
    reply = await api.call("POST", path, {"current_password": "wrong password"}, token=token)
    assert reply.refusal == (403, "forbidden", "current_password")
    await api.accounts.make_admin(user_id)
    assert (await api.call("POST", path, body, token=token)).refusal[:2] == (409, "out_of_order")
    await api.accounts.revoke_admin(user_id)
    assert (await api.call("POST", path, body, token=token)).status == 204
    assert (await api.call("GET", "/v1/me", token=token)).status == 401
    assert [envelope.sign_out.is_deleted for _, envelope in api.log.published] == [True] * api.log.partitions
    (entry,) = await api.accounts.audit_entries(limit=2)
    assert (entry.act, entry.actor.user_id, entry.target) == ("delete_user", user_id, f"alice ({user_id})")
    assert api.groups.left == [user_id]


async def test_a_password_is_set_only_once_the_former_sign_ins_have_ended(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a repeated request has the wrong password, or a used link, and the sign-in of a thief goes on."""
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    link, other = new_link(str(user_id)), (await api.sign_in())["access_token"]
    await api.accounts.add_password_reset(user_id, link.digest, api.clock.now_ms + DAY_MS)
    reset = {"token": link.token, "password": "another password"}
    with monkeypatch.context() as patch:
        patch.setattr(api.accounts, "end_families", unavailable)
        assert (await api.call("PUT", "/v1/me/password", CHANGE, token=token)).status == 503
        assert (await api.call("POST", "/v1/password-resets", reset)).status == 503
    assert (await api.call("PUT", "/v1/me/password", CHANGE, token=token)).status == 200
    assert (await api.call("GET", "/v1/me", token=other)).status == 401


@pytest.mark.parametrize("by_link", [False, True])
async def test_a_password_whose_change_has_no_answer_ends_the_sign_ins_that_began_meanwhile(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch, by_link: bool
) -> None:
    """A repeated request has the wrong password, or a used link, and would leave them."""
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    link, late = new_link(str(user_id)), []
    await api.accounts.add_password_reset(user_id, link.digest, api.clock.now_ms + DAY_MS)
    set_password = api.accounts.set_password

    async def lose_answer(*arguments: Any, **named: Any) -> None:
        late.append((await api.sign_in())["access_token"])
        await set_password(*arguments, **named)
        raise Unavailable("no answer")

    monkeypatch.setattr(api.accounts, "set_password", lose_answer)
    if by_link:
        reset = {"token": link.token, "password": CHANGE["new_password"]}
        reply = await api.call("POST", "/v1/password-resets", reset)
    else:
        reply = await api.call("PUT", "/v1/me/password", CHANGE, token=token)
    assert reply.status == 503
    assert [(await api.call("GET", "/v1/me", token=each)).status for each in late] == [401]
    await api.sign_in(password=CHANGE["new_password"])


async def test_a_password_changes_only_with_the_current_one(api: Api, token: str) -> None:
    change = {"current_password": "wrong password", "new_password": "another password"}
    reply = await api.call("PUT", "/v1/me/password", change, token=token)
    assert reply.refusal == (403, "forbidden", "current_password")
    await api.sign_in(password=PASSWORD)


async def test_the_gateway_has_the_host_that_the_client_used(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = await api.call("GET", "/v1/me/gateway", token=token, headers={"Host": "chat.example.org:8080"})
    location = {"websocket": "ws://chat.example.org:8081/session", "grpc": "chat.example.org:8082"}
    assert reply.body == location
    monkeypatch.setattr(gateways, "WAIT_FOR_ANOTHER_SECONDS", 0.01)
    path = "/v1/me/gateway?unreachable=chat.example.org:8082"
    reply = await api.call("GET", path, token=token, headers={"Host": "chat.example.org:8080"})
    assert reply.body == location, "the only gateway may be back"
    reply = await api.call("GET", f"/v1/me/gateway?unreachable={'x' * 301}", token=token)
    assert reply.refusal == (422, "invalid", "unreachable")


async def test_a_refusal_without_a_gateway_has_a_retry_delay(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "OWNER_SECONDS", 0.01)
    (owner,) = {api.services.directory.owner(partition) for partition in range(4)}
    assert owner is not None
    api.services.directory.publish(owner, (), 1)
    reply = await api.call("GET", "/v1/me/gateway", token=token)
    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (503, "unavailable", "1")
    assert reply.body["retry_after_ms"] == WAITED_RETRY_MS


# ---- when the store is down


async def test_a_store_that_is_down_is_reported_at_once(api: Api, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("users", "sign_in_status", "credentials", "add_user", "rotate", "family_of"):
        monkeypatch.setattr(api.accounts, name, unavailable)
    requests = (
        ("GET", "/v1/me", None),
        ("POST", "/v1/users", {"name": "bob", "password": PASSWORD}),
        ("POST", "/v1/tokens", {"name": "alice", "password": PASSWORD}),
        ("POST", "/v1/tokens/refresh", {"refresh_token": "x"}),
    )
    for method, path, body in requests:
        reply = await api.call(method, path, body, token=token)
        assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (503, "unavailable", "1"), path
        assert reply.body["retry_after_ms"] == 1_000
        assert b"disk" not in reply.text


async def test_a_store_that_is_down_does_not_lock_anyone_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.register("alice")
    with monkeypatch.context() as patch:
        patch.setattr(api.accounts, "credentials", unavailable)
        for _ in range(30):
            assert (await api.call("POST", "/v1/tokens", {"name": "alice", "password": PASSWORD})).status == 503
    await api.sign_in()
