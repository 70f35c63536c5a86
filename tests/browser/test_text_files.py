"""Text files in messages: their first lines in place, and more of them in a dialog."""

import pytest
from playwright.sync_api import FilePayload, Locator, Route, expect

from tests.browser.conftest import Account, Platform, Seat, Seats
from tests.browser.test_accessibility import CONDITIONS, expect_accessible
from tests.browser.test_changes import choose
from tests.browser.test_files import attach

LINES = "".join(f"Line {number} of <b>the log</b>\n" for number in range(1, 4_001))
"""A text of more bytes than the page shows."""

MOVEMENTS = """() => {
  const top = () => document.querySelector('rookery-message').getBoundingClientRect().top;
  const {place} = window.seen = {place: top(), moved: []};
  const look = () => {
    if (Math.abs(top() - place) > 0.5) window.seen.moved.push(top() - place);
    requestAnimationFrame(look);
  };
  look();
}"""
"""Notes in each frame whether the first message is elsewhere than now."""


def text_file(name: str, content: str | bytes) -> FilePayload:
    content = content if isinstance(content, bytes) else content.encode()
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def beginning_of(seat: Seat, name: str) -> Locator:
    """The place of the first lines of the only file of a message."""
    return seat.message(name).locator(".text-file")


@pytest.mark.slow
def test_a_text_shows_its_first_lines_where_it_is_sent_and_received_and_more_of_it_in_a_dialog(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Show me")
    at_ada, at_mira = seats(platform, ada, chat="Mira Okafor"), seats(platform, mira, chat="Ada Lindqvist")
    at_mira.until_live()
    ranges: list[str] = []
    for seat in (at_ada, at_mira):
        seat.page.on("request", lambda request: ranges.append(request.headers.get("range", "")))
    attach(at_ada, text_file("server.log", LINES))
    at_ada.composer.press("Enter")
    shown = LINES.removesuffix("\n").splitlines()
    for seat in (at_ada, at_mira):
        expect(beginning_of(seat, "server.log").locator("pre")).to_have_text("\n".join(shown[:8]))
        expect(beginning_of(seat, "server.log").locator("pre > *")).to_have_count(0)
        expect_accessible(seat.page, *CONDITIONS)
    assert [*filter(None, ranges)] == ["bytes=0-4095"]  # the sender has the bytes

    more = at_mira.page.get_by_role("button", name="Show more of server.log")
    more.click()
    dialog = at_mira.page.get_by_role("dialog", name="server.log")
    text = dialog.get_by_role("region", name="server.log")
    expect(text).to_contain_text(shown[1_500])
    assert len((text.text_content() or "").encode()) == 64_000
    expect(dialog).to_contain_text("the beginning of the file, 64 kB")
    expect_accessible(at_mira.page, *CONDITIONS)
    with at_mira.page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    assert download.value.path().read_bytes() == LINES.encode()
    at_mira.page.keyboard.press("Escape")
    expect(more).to_be_focused()
    more.click()
    expect(text).to_be_visible()
    choose(at_ada, "server.log", "Delete")
    at_ada.page.get_by_role("button", name="Delete for everyone").click()
    expect(dialog).to_have_count(0)
    expect(at_mira.messages.get_by_text("This message was deleted")).to_be_visible()


@pytest.mark.slow
def test_only_texts_have_a_beginning_in_their_own_direction(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Show me")
    seat = seats(platform, ada, chat="Mira Okafor")
    arabic = "مرحبا\nHello"
    names = ["empty.txt", "latin.txt", "utf16.txt", "bytes.bin", "arabic.txt"]
    contents: list[str | bytes] = ["", b"Gr\xfc\xdfe", "Hello".encode("utf-16"), b"\0\1\2", arabic]
    for name, content in zip(names, contents, strict=True):
        attach(seat, text_file(name, content))
        seat.composer.press("Enter")
        expect(seat.message(name)).to_contain_text("Sent")
    text = beginning_of(seat, "arabic.txt")
    expect(text.locator("pre")).to_have_text(arabic)
    expect(text).to_have_attribute("data-state", "whole")
    expect(text.get_by_role("button")).to_have_count(0)
    expect(seat.page.locator(".text-file")).to_have_count(1)
    assert text.locator("pre").evaluate("(element) => getComputedStyle(element).unicodeBidi") == "plaintext"
    assert text.locator("pre").evaluate("(element) => getComputedStyle(element).direction") == "rtl"


@pytest.mark.slow
def test_the_beginnings_in_view_are_read_a_few_at_once_and_move_nothing_even_if_there_is_none(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Show me")
    at_ada = seats(platform, ada, chat="Mira Okafor")
    attach(at_ada, *(text_file(f"{number}.txt", f"Note {number}") for number in range(10)))
    at_ada.composer.press("Enter")
    expect(at_ada.messages.last).to_contain_text("Sent")

    at_mira = seats(platform, mira, allowed=["404"])
    held: list[Route] = []
    at_mira.page.route("**/files/*/*.txt?*", lambda route: held.append(route))
    at_mira.open_chat("Ada Lindqvist")
    places = at_mira.page.locator(".text-file")
    expect(places).to_have_count(10)
    while len(held) < 3:
        at_mira.page.wait_for_timeout(20)
    boxes = [place.bounding_box() for place in places.all()]
    at_mira.page.evaluate(MOVEMENTS)
    at_mira.page.wait_for_timeout(200)
    assert len(held) == 3
    at_mira.page.route("**/files/*/*.txt?*", lambda route: route.continue_())
    at_mira.page.route("**/files/*/9.txt?*", lambda route: route.fulfill(status=404))
    for route in held:
        if "/9.txt" in route.request.url:  # its link has expired; the next one does not lead to it either
            route.fulfill(status=404)
        else:
            route.continue_()
    expect(places.last).to_have_attribute("data-state", "none")
    for number in (8, 7, 6):
        expect(places.nth(number).locator("pre")).to_have_text(f"Note {number}")
    assert [place.bounding_box() for place in places.all()] == boxes
    assert at_mira.page.evaluate("seen.moved") == []
    expect(places.first.locator("pre")).to_have_text("")  # out of view
    places.first.scroll_into_view_if_needed()
    expect(places.first.locator("pre")).to_have_text("Note 0")
    expect(places.last).to_be_hidden()
