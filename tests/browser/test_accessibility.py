"""Accessibility: keyboard, names and sizes of controls, live regions, colour schemes, small screens."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Account, Platform, Seat, Seats

SMALL_TARGETS = """() => [...document.querySelectorAll('button, input, textarea, a[href]')]
  .filter((element) => element.checkVisibility() && !element.closest('.reactions, .text'))
  .map((element) => [element, (element.closest('.search, .writing, .choice') ?? element).getBoundingClientRect()])
  .filter(([, box]) => box.width < 44 || box.height < 44)
  .map(([element, box]) => `${element.outerHTML}: ${box.width}x${box.height}`)"""
"""Controls smaller than 44 pixels; a container that takes the press counts. Links in texts are exempt."""

CHIP_IS_HIT_AT_ITS_EDGE = """(chip) => {
  const { left, top, width, height } = chip.getBoundingClientRect();
  return document.elementFromPoint(left + width / 2, top + height / 2 + 21) === chip;
}"""
"""Reactions look small, but their hit area is 44 pixels high."""

NAMELESS = """() => [...document.querySelectorAll('button, input, textarea, [role=dialog], dialog, nav, [role=menu]')]
  .filter((element) => !(element.getAttribute('aria-label') || element.textContent.trim() || element.labels?.length))
  .map((element) => element.outerHTML)"""


@pytest.fixture
def chatting(platform: Platform, seats: Seats, ada: Account, mira: Account) -> Seat:
    platform.send(mira, ada.chat_with(mira), "First", "Second", "Third")
    seat = seats(platform, ada)
    expect(seat.row("Mira Okafor")).to_be_visible()
    return seat


def test_everything_can_be_done_with_the_keyboard(platform: Platform, seats: Seats, mira: Account) -> None:
    seat = seats(platform)
    page, keys = seat.page, seat.page.keyboard
    ada = platform.register("Ada Lindqvist")
    platform.send(mira, ada.chat_with(mira), "First", "Second")
    page.goto(platform.url)
    expect(page.get_by_label("User name")).to_be_focused()
    keys.type(ada.name)
    keys.press("Tab")
    keys.type("correct horse battery")
    keys.press("Enter")
    row = seat.row("Mira Okafor")
    expect(row).to_be_visible()
    keys.press("Control+k")
    expect(page.get_by_label("Search people and chats")).to_be_focused()
    keys.press("ArrowDown")
    expect(row).to_be_focused()
    keys.press("Enter")
    expect(seat.composer).to_be_focused()
    keys.type("No mouse at all")
    keys.press("Enter")
    expect(seat.message("No mouse at all")).to_contain_text("Sent")
    expect(seat.message("Second")).to_be_visible()

    keys.press("Shift+Tab")
    expect(page.get_by_role("group", name="Messages")).to_be_focused()
    keys.press("ArrowUp")
    keys.press("ArrowUp")
    expect(seat.message("Second")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("button", name="thumbs up")).to_be_focused()
    keys.press("ArrowRight")
    keys.press("Enter")
    expect(seat.message("Second").get_by_role("button", name="❤️ 1: you")).to_be_visible()
    expect(seat.message("Second").get_by_role("button", name="React")).to_be_focused()
    keys.press("Escape")
    expect(row).to_be_focused()
    expect(page.get_by_text("Pick a chat")).to_be_visible()
    keys.press("Control+k")
    keys.type("okafor")
    expect(page.get_by_role("heading", name="Chats")).to_be_visible()
    keys.press("Enter")
    expect(seat.composer).to_be_focused()
    expect(seat.composer).to_have_value("")


def test_closed_menus_and_dialogs_return_the_focus(chatting: Seat) -> None:
    page, keys = chatting.page, chatting.page.keyboard
    menu = page.get_by_role("button", name="Menu")
    menu.focus()
    keys.press("Enter")
    expect(page.get_by_role("menuitem", name="Your profile")).to_be_focused()
    keys.press("Escape")
    expect(menu).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("menuitem", name="Your profile")).to_be_focused()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(menu).to_be_focused()


def expect_named_and_large_controls(page: Page) -> None:
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(SMALL_TARGETS) == []


def test_every_control_has_a_name_and_a_size(chatting: Seat) -> None:
    expect_named_and_large_controls(chatting.page)
    chatting.open_chat("Mira Okafor")
    expect(chatting.message("Third")).to_be_visible()
    expect_named_and_large_controls(chatting.page)
    chatting.message("Third").hover()
    chatting.message("Third").get_by_role("button", name="React").click()
    expect_named_and_large_controls(chatting.page)
    chatting.page.get_by_role("button", name="More emoji").click()
    seedling = chatting.page.get_by_role("gridcell", name="seedling", exact=True)
    chatting.page.get_by_label("Search emoji").fill("seedling")
    expect(seedling).to_be_visible()
    chatting.page.get_by_role("button", name="Skin tone").click()
    expect_named_and_large_controls(chatting.page)
    seedling.click()
    chip = chatting.page.get_by_role("button", name="🌱")
    assert chip.evaluate(CHIP_IS_HIT_AT_ITS_EDGE)
    chatting.page.get_by_role("button", name="Menu").click()
    expect_named_and_large_controls(chatting.page)
    chatting.page.get_by_role("menuitem", name="Your profile").click()
    expect_named_and_large_controls(chatting.page)


def test_messages_are_named_by_sender_and_time_and_only_new_ones_are_announced(
    platform: Platform, chatting: Seat, ada: Account, mira: Account
) -> None:
    log = chatting.page.get_by_role("log")
    chatting.open_chat("Mira Okafor")
    chatting.until_live()
    expect(log).to_have_text("")
    expect(chatting.message("Third")).to_have_text(re.compile(r"^Mira Okafor: Third\s*\d?\d:\d\d"))
    platform.send(mira, ada.chat_with(mira), "Can you hear me?")
    expect(log).to_have_text("Mira Okafor: Can you hear me?")


def test_a_phone_has_one_pane_and_nothing_to_scroll_sideways(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "word " * 60, "w" * 300)
    seat = seats(platform, ada, size="phone", has_touch=True, is_mobile=True)
    expect(seat.page.get_by_text("Pick a chat")).to_be_hidden()
    expect(seat.page.get_by_role("main").get_by_role("heading", level=1)).to_have_text("Rookery")
    expect_no_sideways_scroll(seat.page)
    seat.open_chat("Mira Okafor")
    expect(seat.messages).to_have_count(2)
    expect(seat.page.get_by_role("navigation")).to_be_hidden()
    expect(seat.page.get_by_role("main").get_by_role("heading", level=1)).to_have_text("Chat with Mira Okafor")
    expect_no_sideways_scroll(seat.page)
    seat.messages.first.locator(".bubble").tap()
    react = seat.messages.first.get_by_role("button", name="React")
    react.tap()
    seat.page.get_by_role("button", name="eyes").tap()
    expect(seat.page.get_by_role("button", name="👀 1: you")).to_be_visible()
    expect_no_sideways_scroll(seat.page)
    seat.page.go_back()
    expect(seat.page.get_by_role("navigation")).to_be_visible()
    seat.open_chat("Mira Okafor")
    seat.page.get_by_role("button", name="Back to chats").tap()
    expect(seat.page.get_by_role("navigation")).to_be_visible()


def test_the_description_of_the_api_fits_a_phone_and_its_examples_can_be_copied(
    platform: Platform, seats: Seats
) -> None:
    page = seats(platform, size="phone", permissions=["clipboard-read", "clipboard-write"]).page
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(f"{platform.url}/docs")
    expect_no_sideways_scroll(page)
    page.get_by_role("button", name="Copy the example for curl").first.click()
    expect(page.get_by_role("status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith(f"ROOKERY={platform.url}\n")
    page.get_by_text("Contents").click()
    page.get_by_role("link", name="POST /tokens", exact=True).click()
    expect(page.get_by_role("heading", name="POST /v1/tokens", exact=True)).to_be_in_viewport()
    expect(page.get_by_role("navigation")).to_be_hidden()


def expect_no_sideways_scroll(page: Page) -> None:
    assert page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth"
    )
    assert page.evaluate(
        "[...document.querySelectorAll('.messages, .scroller')].every((s) => s.scrollWidth <= s.clientWidth)"
    )


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(251, 250, 247)"), ("dark", "rgb(18, 21, 23)")])
def test_the_scheme_is_the_system_s(platform: Platform, seats: Seats, scheme: str, paper: str) -> None:
    seat = seats(platform, color_scheme=scheme)
    seat.page.goto(platform.url)
    expect(seat.page.locator("body")).to_have_css("background-color", paper)


def test_nothing_moves_where_the_system_asks_for_none(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform, reduced_motion="reduce")
    for event, name in (("animationstart", "animationName"), ("transitionrun", "propertyName")):
        seat.page.add_init_script(f"addEventListener('{event}', (e) => console.error('motion ' + e.{name}), true)")
    seat.sign_in(ada)
    seat.open_chat("Mira Okafor")
    seat.message("Hello").hover()
    seat.choose("Your profile")
    expect(seat.page.get_by_role("dialog")).to_be_visible()


def test_focus_can_be_seen(chatting: Seat) -> None:
    chatting.page.get_by_label("Search people and chats").focus()
    seen = set()
    for _ in range(2):
        chatting.page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement)"
        seen.add(chatting.page.evaluate(f"{style}.outlineStyle + ' ' + {style}.outlineWidth"))
    assert seen == {"solid 2px"}
