"""Public profiles: by id, in bulk, and by part of a name."""

from urllib.parse import quote

from shared.accounts.store import User
from tests.bff.conftest import Api


async def add(api: Api, *names: str) -> None:
    """Accounts straight in the store, with ids 101 and up."""
    for number, name in enumerate(names, 101):
        await api.accounts.add_user(User(number, name, name.title(), "about", 1, 0), "hash")


async def test_a_profile_has_only_public_fields(api: Api, token: str) -> None:
    await add(api, "bob")
    reply = await api.call("GET", "/v1/profiles/101", token=token)
    assert (reply.status, reply.body) == (
        200,
        {"user_id": "101", "name": "bob", "display_name": "Bob", "about": "about", "avatar": "", "deleted": False},
    )


async def test_of_a_deleted_account_only_the_id_is_shown_and_no_search_or_list_has_it(api: Api, token: str) -> None:
    await add(api, "bob", "carol")
    etag = (await api.call("GET", "/v1/profiles/101", token=token)).headers["ETag"]
    await api.accounts.delete_user(101)
    gone = {"user_id": "101", "name": "", "display_name": "Deleted account", "about": "", "avatar": "", "deleted": True}
    alone = await api.call("GET", "/v1/profiles/101", token=token, headers={"If-None-Match": etag})
    assert (alone.status, alone.body) == (200, gone)
    assert (await api.call("GET", "/v1/profiles?user_ids=101", token=token)).body["profiles"] == [gone]
    for path in ("profiles?name_contains=bob", "people"):
        found = (await api.call("GET", f"/v1/{path}", token=token)).body["profiles"]
        assert "101" not in [profile["user_id"] for profile in found]


async def test_all_people_are_listed_page_by_page(api: Api, token: str) -> None:
    names = ["alice", "bob", "carol", "dave", "eve"]
    await add(api, *names[1:])
    await api.accounts.delete_user(102)
    seen, cursor = [], "0"
    while cursor:
        page = (await api.call("GET", f"/v1/people?limit=2&cursor={cursor}", token=token)).body
        assert len(page["profiles"]) <= 2
        seen += [profile["name"] for profile in page["profiles"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == ["alice", "bob", "dave", "eve"]
    for query in ("limit=0", "limit=101", "cursor=x", f"cursor={2**63}"):
        assert (await api.call("GET", f"/v1/people?{query}", token=token)).status in (400, 422), query


async def test_an_unknown_profile_is_not_found(api: Api, token: str) -> None:
    reply = await api.call("GET", "/v1/profiles/999", token=token)
    assert reply.refusal == (404, "not_found", "user_id")


async def test_an_unchanged_profile_is_not_sent_again(api: Api, token: str) -> None:
    await add(api, "bob")
    etag = (await api.call("GET", "/v1/profiles/101", token=token)).headers["ETag"]
    for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        same = await api.call("GET", "/v1/profiles/101", token=token, headers={"If-None-Match": header})
        assert (same.status, same.text) == (304, b""), header
    await api.accounts.update_profile(101, display_name="Robert", about="", version=1)
    changed = await api.call("GET", "/v1/profiles/101", token=token, headers={"If-None-Match": etag})
    assert changed.body["display_name"] == "Robert"


async def test_profiles_in_bulk_have_the_requested_order_without_unknown_ones(api: Api, token: str) -> None:
    await add(api, "bob", "carol", "dave")
    reply = await api.call("GET", "/v1/profiles?user_ids=103,999,101,103", token=token)
    assert [profile["name"] for profile in reply.body["profiles"]] == ["dave", "bob"]
    assert reply.body["next_cursor"] == ""


async def test_a_search_finds_parts_of_both_names_whatever_their_case(api: Api, token: str) -> None:
    await add(api, "bob.builder", "carol")
    for part in ("build", "BUILDER", "b.b", "Bob.b"):
        reply = await api.call("GET", f"/v1/profiles?name_contains={part}", token=token)
        assert [profile["name"] for profile in reply.body["profiles"]] == ["bob.builder"], part
    for part in ("builderx", "%25%25%25", "'''", "%22%22%22", "___"):
        reply = await api.call("GET", f"/v1/profiles?name_contains={part}", token=token)
        assert (reply.status, reply.body["profiles"]) == (200, []), part


async def test_a_page_has_the_requested_or_the_default_length(api: Api, token: str) -> None:
    await add(api, *(f"user-{number:02}" for number in range(30)))
    limited = await api.call("GET", "/v1/profiles?name_contains=user&limit=7", token=token)
    default = await api.call("GET", "/v1/profiles?name_contains=user", token=token)
    assert [len(reply.body["profiles"]) for reply in (limited, default)] == [7, 20]
    assert limited.body["next_cursor"]


async def test_the_user_with_the_searched_name_comes_first_and_pages_neither_skip_nor_repeat(
    api: Api, token: str
) -> None:
    names = sorted(f"{a}{b}{c}" for a in "ab.-_9" for b in ("xyz", "zyx") for c in ("", "9", "-"))
    await add(api, "xyz", *names)
    expected = ["xyz", *(name for name in names if "xyz" in name)]
    for limit in range(1, len(expected) + 2):
        found: list[str] = []
        cursor = ""
        while True:
            path = f"/v1/profiles?name_contains=%40Xyz&limit={limit}&cursor={quote(cursor)}"
            page = (await api.call("GET", path, token=token)).body
            assert 0 < len(page["profiles"]) <= limit
            found += [profile["name"] for profile in page["profiles"]]
            if not (cursor := page["next_cursor"]):
                break
        assert found == expected
