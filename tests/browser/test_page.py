"""The page as a download: how much, from where, and under which policy."""

from typing import TYPE_CHECKING

import httpx
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.browser.conftest import Account, Platform, Seats

MOST_BYTES = 100_000
"""Of everything that a first visit transfers, before the chats themselves."""

SIZES = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter((entry) => !new URL(entry.name).pathname.startsWith('/v1/'))
  .map((entry) => [entry.name, entry.encodedBodySize])"""


def test_the_whole_page_is_under_100_kilobytes(
    platform: "Platform", seats: "Seats", ada: "Account", mira: "Account"
) -> None:
    platform.say(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform)
    seat.sign_in(ada)
    seat.open_chat("Mira Okafor")
    expect(seat.message("Hello")).to_be_visible()
    sizes = seat.page.evaluate(SIZES)
    assert all(size > 0 for _, size in sizes)
    assert sum(size for _, size in sizes) < MOST_BYTES, sizes


def test_the_page_is_packed_for_who_can_unpack_it(platform: "Platform") -> None:
    plain, packed = (
        httpx.get(f"{platform.url}/main.js", headers={"Accept-Encoding": encoding}, timeout=PATIENCE)
        for encoding in ("identity", "gzip")
    )
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.text == plain.text
    assert plain.headers["ETag"] != packed.headers["ETag"]


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere(platform: "Platform") -> None:
    policy = httpx.get(platform.url, timeout=PATIENCE).headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
