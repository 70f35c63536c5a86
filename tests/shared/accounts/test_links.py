"""Invites and password resets in both account stores."""

from dataclasses import replace
from functools import partial

import pytest
import trio

from shared.accounts.links import Invite, creator_of, new_link, read_link
from shared.accounts.store import AccountStore, User
from tests.shared.accounts.stores import OpenStore, patiently

ALICE = User(11, "alice", "Alice Liddell", "", 1, 1_000)
INVITE = Invite("one", "ada (7)", 1_000, 5_000, 2, 2)


def test_a_token_is_read_as_its_key_and_the_digest_of_its_secret() -> None:
    link, other = new_link("one"), new_link("one")
    assert read_link(link.token) == ("one", link.digest) != read_link(other.token)
    assert link.token not in repr(link.digest)
    for text in ("", "one", ".", "one.", "one.two.three", "é🙂"):
        assert read_link(text)[1] != link.digest


def test_the_creator_of_a_link_is_in_its_token_and_can_not_be_changed() -> None:
    link, made_by_command = new_link("7", 12), new_link("7")
    assert (creator_of(link.token), creator_of(made_by_command.token)) == ("12", "")
    assert read_link(link.token) == ("7", link.digest)
    for other in (link.token.removesuffix(".12"), link.token + "3", link.token + ".", made_by_command.token + ".12"):
        assert read_link(other)[1] not in (link.digest, made_by_command.digest)
    for text in ("", "7", "7.", "7.x"):
        assert creator_of(text) == ""


async def test_an_invite_is_used_until_it_has_no_use_left_and_a_use_can_be_returned(store: AccountStore) -> None:
    use = partial(store.use_invite, "one", b"digest", now_ms=4_999)
    assert not await use()
    await store.add_invite(INVITE, b"digest")
    assert not await store.use_invite("one", b"other", now_ms=4_999)
    assert not await store.use_invite("one", b"digest", now_ms=5_000)
    assert [await use(), await use(), await use()] == [True, True, False]
    assert await store.invites(now_ms=4_999) == [replace(INVITE, uses_left=0)]
    await store.return_use("one")
    assert [await use(), await use()] == [True, False]
    for _ in range(5):
        await store.return_use("one")
    assert await store.invites(now_ms=4_999) == [INVITE]
    await store.return_use("another")


async def test_invites_are_listed_newest_first_until_they_expire_or_are_revoked(store: AccountStore) -> None:
    later = [replace(INVITE, invite_id=str(at), created_at_ms=at, expires_at_ms=at + 4_000) for at in (2_000, 3_000)]
    for invite in (INVITE, *later):
        await store.add_invite(invite, b"digest")
    assert await store.invites(now_ms=4_999) == [*reversed(later), INVITE]
    assert await store.invites(now_ms=5_000) == [*reversed(later)]
    assert await store.revoke_invite("2000")
    assert not await store.revoke_invite("2000")
    assert not await store.use_invite("2000", b"digest", now_ms=4_999)
    await store.add_invite(replace(INVITE, invite_id="new", created_at_ms=5_000, expires_at_ms=9_000), b"digest")
    assert [invite.invite_id for invite in await store.invites(now_ms=0)] == ["new", "3000"]


async def test_of_many_concurrent_uses_of_an_invite_its_limit_succeeds(open_store: OpenStore) -> None:
    used: list[bool] = []

    async def use(store: AccountStore) -> None:
        used.append(await patiently(partial(store.use_invite, "one", b"digest", now_ms=0)))

    async with open_store() as one, open_store() as other:
        await one.add_invite(replace(INVITE, uses=3, uses_left=3), b"digest")
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(use, (one, other)[number % 2])
        # An attempt whose answer was lost may have taken a use.
        assert 1 <= sum(used) <= 3
        assert [invite.uses_left for invite in await other.invites(now_ms=0)] == [0]


@pytest.mark.parametrize("end", ["used", "replaced", "deleted"])
async def test_a_password_reset_is_used_once_and_the_newest_counts(store: AccountStore, end: str) -> None:
    await store.add_user(ALICE, "hash")
    use = partial(store.use_password_reset, ALICE.user_id, now_ms=4_999)
    assert not await use(b"digest")
    for _ in range(2):
        await store.add_password_reset(ALICE.user_id, b"digest", 5_000)
    assert not await use(b"other")
    assert not await store.use_password_reset(ALICE.user_id, b"digest", now_ms=5_000)
    if end == "used":
        assert await use(b"digest")
    elif end == "replaced":
        await store.add_password_reset(ALICE.user_id, b"newer", 5_000)
    else:
        await store.delete_user(ALICE.user_id)
    assert not await use(b"digest")
    assert await use(b"newer") == (end == "replaced")
