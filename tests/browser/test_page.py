"""The page as a download. `tests/bff/test_site.py` tests its policy and compression."""

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Account, Platform, Seats

MOST_BYTES = 100_000
"""Transfer size of a first visit, without chats."""

SIZES = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter((entry) => !new URL(entry.name).pathname.startsWith('/v1/'))
  .map((entry) => [entry.name, entry.encodedBodySize])"""


def test_the_whole_page_is_under_100_kilobytes(
    platform: "Platform", seats: "Seats", ada: "Account", mira: "Account"
) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform)
    seat.sign_in(ada)
    seat.open_chat("Mira Okafor")
    expect(seat.message("Hello")).to_be_visible()
    sizes = seat.page.evaluate(SIZES)
    assert all(size > 0 for _, size in sizes)
    assert sum(size for _, size in sizes) < MOST_BYTES, sizes
