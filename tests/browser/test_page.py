"""The page as a download. `tests/bff/test_site.py` tests its policy and compression."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import Account, Platform, Seats

MOST_BYTES = 120_000
"""Transfer size of a first visit, without chats."""

SIZES = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter((entry) => !new URL(entry.name).pathname.startsWith('/v1/'))
  .map((entry) => [entry.name, entry.encodedBodySize])"""


def downloaded_bytes(page: Page) -> int:
    """The transfer size of the page and its files so far."""
    sizes = page.evaluate(SIZES)
    print(sizes)
    assert all(size > 0 for _, size in sizes)
    return sum(size for _, size in sizes)


def test_the_whole_page_is_under_120_kilobytes(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform, ada, chat="Mira Okafor")
    expect(seat.message("Hello")).to_be_visible()
    assert downloaded_bytes(seat.page) < MOST_BYTES
