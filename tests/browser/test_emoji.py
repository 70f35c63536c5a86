"""Emoji: the picker in the composer and for reactions, and shortcodes."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Account, Platform, Seats
from tests.browser.test_accessibility import expect_accessible

ELEMENTS = "document.querySelectorAll('*').length"
ENTER_OF_A_COMPOSITION = (
    "(field) => field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true}))"
)


@pytest.mark.slow
def test_emoji_are_picked_by_keyboard_in_the_skin_tone_that_was_chosen(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform, ada, chat="Mira Okafor", allowed=["ERR_FAILED"])
    page, keys = seat.page, seat.page.keyboard
    for file in ("emoji-picker.js", "emoji.txt"):
        page.route(f"**/{file}", lambda route: route.abort())
    before = page.evaluate(ELEMENTS)
    seat.composer.fill("Hi ?")
    seat.composer.press("ArrowLeft")
    load = page.get_by_role("button", name="Emoji", exact=True)
    for file in ("emoji-picker.js", "emoji.txt"):
        with page.expect_event("requestfailed", lambda request, file=file: request.url.endswith(file)):
            load.click()
        expect(page.locator(".failure")).to_have_text("The emoji could not be loaded.Try again")
        expect_accessible(page)
        page.unroute(f"**/{file}")
        load = page.get_by_role("button", name="Try again")
    load.click()
    grinning = page.get_by_role("gridcell", name="grinning face", exact=True)
    expect(grinning).to_be_visible()
    assert page.evaluate(ELEMENTS) - before < 300
    page.get_by_role("button", name="Flags").click()
    expect(page.get_by_role("gridcell", name="flag: Andorra")).to_be_visible()
    expect(grinning).to_have_count(0)
    page.get_by_role("button", name="Skin tone: Default").click()
    keys.press("ArrowRight")
    keys.press("Enter")
    page.get_by_label("Search emoji").fill("wav")
    keys.press("ArrowDown")
    keys.press("End")
    keys.press("Home")
    expect(page.get_by_role("gridcell", name="waving hand")).to_be_focused()
    keys.type("i")
    expect(page.get_by_label("Search emoji")).to_have_value("wavi")
    keys.press("Enter")
    expect(seat.composer).to_be_focused()
    expect(seat.composer).to_have_value("Hi 👋🏻?")

    page.reload()
    seat.message("Hello").hover()
    seat.message("Hello").get_by_role("button", name="React").click()
    page.get_by_role("button", name="More emoji").click()
    expect(page.get_by_role("gridcell", name="waving hand").first).to_have_text("👋🏻")
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(seat.message("Hello").get_by_role("button", name="👋🏻 1: you")).to_be_visible()


@pytest.mark.slow
def test_shortcodes_are_completed_while_they_are_written(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform, ada, chat="Mira Okafor")
    options = seat.page.get_by_role("option")
    seat.composer.press_sequentially("At 12:30 :he")
    expect(options).to_have_count(8)
    seat.composer.press("Escape")
    expect(options).to_have_count(0)
    seat.composer.press_sequentially("a")
    second = options.nth(1).get_attribute("id")
    seat.composer.press("ArrowDown")
    expect(seat.composer).to_have_attribute("aria-activedescendant", str(second))
    chosen = options.nth(1).locator("span").inner_text()
    seat.composer.evaluate(ENTER_OF_A_COMPOSITION)
    expect(options).to_have_count(8)
    seat.composer.press("Enter")
    seat.composer.press_sequentially(" :tada::nothing:")
    expect(seat.composer).to_have_value(f"At 12:30 {chosen} 🎉:nothing:")
    expect(seat.messages).to_have_count(1)
    seat.composer.press("Enter")
    expect(seat.messages).to_have_count(2)
