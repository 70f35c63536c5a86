"""Links of files: what their signature covers, how long they live, and other texts in their place."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from bff.files.links import WINDOW_SECONDS, FileLink, FileLinks
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore
from shared.accounts.tokens import KEYS_MAX_AGE, SigningKeys, new_signing_key
from tests.bff.conftest import Clock

LINK = FileLink(123, 5, "sign-in", 1_800_000_400, "g-7", 9, "320", is_download=True, report_id=4)


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[AccountStore]:
    async with open_sqlite_accounts(tmp_path / "accounts.db") as store:
        yield store


@pytest.fixture
def clock() -> Clock:
    return Clock()


def links_of(accounts: AccountStore, clock: Clock) -> FileLinks:
    return FileLinks(SigningKeys(accounts, clock_ms=clock), clock)


def query_of(url: str) -> bytes:
    return url.partition("?")[2].encode()


async def test_a_link_is_verified_by_every_bff_until_it_expires(accounts: AccountStore, clock: Clock) -> None:
    own = replace(LINK, chat_id="", message_id=0, rendition="", is_download=False, report_id=0)
    for link in (LINK, own):
        url = await links_of(accounts, clock).url(link, "a/b?ü.jpg")
        assert url.startswith("/files/123/a%2Fb%3F%C3%BC.jpg?user=5&sign_in=sign-in&")
        other = links_of(accounts, clock)
        assert await other.verify(123, query_of(url)) == link
        assert await other.verify(124, query_of(url)) is None
        clock.now_ms = LINK.expires_at * 1000
        assert await other.verify(123, query_of(url)) is None
        clock.now_ms -= 400_000


async def test_a_changed_or_broken_query_is_no_link(accounts: AccountStore, clock: Clock) -> None:
    links = links_of(accounts, clock)
    query = query_of(await links.url(LINK, "a"))
    assert await links.verify(123, query) == LINK
    fields = query.split(b"&")
    broken = [b"&".join(fields[:at] + fields[at + 1 :]) for at in range(len(fields))]  # one is missing
    broken += [b"&".join([*fields, field]) for field in fields]  # one is there twice
    broken += [query.replace(field, field + b"1") for field in fields]
    broken += [query + b"&more=1", query.replace(b"user=5", b"user=-5"), query + b"\xff", b"", b"&" * 1000, b"%00=%ff"]
    broken += [query.replace(b"user=5", b"user=" + b"9" * 19), query.replace(b"key=", b"key=%ED%95%9C")]
    broken += [query.replace(b"signature=", "signature=ü".encode())]
    for each in broken:
        assert await links.verify(123, each) is None, each


async def test_the_links_of_a_user_stay_the_same_for_five_minutes(accounts: AccountStore, clock: Clock) -> None:
    links, expiries = links_of(accounts, clock), []
    for _ in range(2 * WINDOW_SECONDS):
        clock.now_ms += 1000
        expiries.append(links.expiry(7))
        assert WINDOW_SECONDS <= expiries[-1] - clock.now_ms // 1000 < 2 * WINDOW_SECONDS
    assert len(set(expiries)) == 3
    assert links.expiry(8) != links.expiry(7)


async def test_links_of_a_replaced_key_stay_valid(
    accounts: AccountStore, clock: Clock, autojump_clock: MockClock
) -> None:
    links = links_of(accounts, clock)
    url = await links.url(LINK, "a")
    await accounts.add_signing_key(new_signing_key(clock() + 1))
    clock.now_ms += 60_000
    await trio.sleep(KEYS_MAX_AGE + 1)
    assert await links.url(LINK, "a") != url
    assert await links.verify(123, query_of(url)) == LINK
