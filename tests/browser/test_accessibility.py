"""Accessibility: axe, keyboard, sizes of controls, live regions, colour schemes, small screens."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Account, Platform, Seat, Seats
from tests.browser.test_connection import refuse_once
from tests.needed import skip_or_fail

SMALL_TARGETS = """() => [...document.querySelectorAll('button, input, textarea, a[href]')]
  .filter((element) => element.checkVisibility() && !element.closest('.reactions, .text, .edited, .author'))
  .map((element) => [element, (element.closest('.search, .writing, .choice') ?? element).getBoundingClientRect()])
  .filter(([, box]) => box.width < 44 || box.height < 44)
  .map(([element, box]) => `${element.outerHTML}: ${box.width}x${box.height}`)"""
"""Controls smaller than 44 pixels; a container that takes the press counts. Links and mentions in texts are exempt, and
"edited" and the name of a sender, since the menu of the message opens the same dialogs."""

CHIP_IS_HIT_AT_ITS_EDGE = """(chip) => {
  const { left, top, width, height } = chip.getBoundingClientRect();
  return document.elementFromPoint(left + width / 2, top + height / 2 + 21) === chip;
}"""
"""Reactions look small, but their hit area is 44 pixels high."""

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"

VIOLATIONS = """async () => {
  axe.configure({ rules: [{
    id: 'scrollable-region-focusable', selector: ':not(select, textarea, [role="listbox"])',
  }] });
  const { violations } = await axe.run({ resultTypes: ['violations'] });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => [id, html, failureSummary]));
}"""
"""The violations that axe finds on the page in its present state. The list of completions
is scrolled by the arrow keys of the composer. axe supports this only for a combobox, a role forbidden to text areas."""

STOP = """() => {
  const stop = document.activeElement;
  const rings = [stop, stop.closest('.search, .writing') ?? stop].map(getComputedStyle);
  return [stop.outerHTML, stop === document.body || rings.some((ring) => ring.outlineStyle === 'solid')];
}"""
"""The focused element, and whether it or the field around it has a ring."""

NEW_VERSION = "navigator.serviceWorker.dispatchEvent(new MessageEvent('message', {data: {version: '/assets/0'}}))"

CONDITIONS: dict[str, tuple[dict[str, Any], tuple[int, int], str]] = {
    "light": ({}, (1200, 760), "ltr"),
    "dark": ({"color_scheme": "dark"}, (1200, 760), "ltr"),
    "forced colours": ({"forced_colors": "active"}, (1200, 760), "ltr"),
    "a phone": ({}, (390, 780), "ltr"),
    "320 pixels": ({}, (320, 640), "ltr"),
    "400 % zoom": ({}, (320, 256), "ltr"),
    "right to left": ({}, (1200, 760), "rtl"),
}
"""The conditions under which pages are checked: emulated media, viewport and direction of writing."""


@pytest.fixture
def chatting(platform: Platform, seats: Seats, ada: Account, mira: Account) -> Seat:
    platform.send(mira, ada.chat_with(mira), "First https://rookery.test", "Second", "Third")
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
    expect(page.get_by_role("button", name="Attach files")).to_be_focused()
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


@pytest.mark.slow
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


def expect_accessible(page: Page, *conditions: str) -> None:
    """Expect large controls, and no violation, as the page is shown or under conditions."""
    assert page.evaluate(SMALL_TARGETS) == []
    expect_no_violation(page, *conditions)


def expect_no_violation(page: Page, *conditions: str) -> None:
    """Expect that axe finds nothing on the page, as it is shown or under conditions; restore the first condition."""
    page.emulate_media(reduced_motion="reduce")  # an element that fades in has a low contrast at first
    if not AXE.exists():
        skip_or_fail("axe is not installed: npm ci")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    if not conditions:
        assert page.evaluate(VIOLATIONS) == []
    for condition in conditions:
        emulate(page, condition)
        assert page.evaluate(VIOLATIONS) == [], condition
    if len(conditions) > 1:
        emulate(page, conditions[0])


def emulate(page: Page, condition: str) -> None:
    media, (width, height), direction = CONDITIONS[condition]
    page.emulate_media(**{"color_scheme": "light", "forced_colors": "none", **media})
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate("direction => { document.dir = direction }", direction)


@pytest.mark.slow
def test_no_screen_before_the_sign_in_has_a_violation(platform: Platform, seats: Seats) -> None:
    page = seats(platform, allowed=["404"]).page
    for address, heading in (("", "Welcome to Rookery"), (f"#reset=1.{'a' * 43}", "password"), ("lost", "not found")):
        page.goto("about:blank")
        page.goto(f"{platform.url}/{address}")
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        expect_accessible(page, *CONDITIONS)
    page.goto(platform.url)
    page.get_by_role("button", name="Create an account").click()
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_label("User name")).to_have_attribute("aria-invalid", "true")
    expect_accessible(page, *CONDITIONS)
    page.goto(f"{platform.url}/docs")
    expect_no_violation(page, *CONDITIONS)


def test_the_list_a_chat_and_a_dialog_have_no_violation(platform: Platform, chatting: Seat) -> None:
    page = chatting.page
    expect_accessible(page)
    chatting.open_chat("Mira Okafor")
    chatting.write("Hello")
    expect(chatting.message("Hello")).to_contain_text("Sent")
    expect_accessible(page, "light", "dark")
    chatting.message("Third").hover()
    chatting.message("Third").get_by_role("button", name="More").click()
    expect(page.get_by_role("menuitem", name="Reply")).to_be_visible()
    expect_accessible(page)
    page.keyboard.press("Escape")
    page.get_by_title("Profile").click()
    expect(page.get_by_role("dialog", name="Profile").get_by_role("button", name="Connect")).to_be_visible()
    expect_accessible(page)


@pytest.mark.slow
def test_no_screen_has_a_violation(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    seat = seats(platform, ada)
    page, keys = seat.page, seat.page.keyboard
    refuse_once(page, {"never"}, {"code": "forbidden", "message": "Not in this chat."})
    page.reload()

    def check(shown: Locator) -> None:
        expect(shown).to_be_visible()
        expect_accessible(page, *CONDITIONS)

    check(page.get_by_text("People to write to"))
    platform.send(mira, ada.chat_with(mira), "First", "Second https://rookery.test ||x||\n```\n1\n```", "Third")
    check(seat.row("Mira Okafor").locator(".badge"))
    for choice in ("Mark as read", "Mark as unread"):
        seat.row("Mira Okafor").click(button="right")
        check(page.get_by_role("menuitem", name=choice))
        page.get_by_role("menuitem", name=choice).click()
    check(seat.row("Mira Okafor").locator(".dot"))
    for choice in ("Pin to the top", "Notifications"):
        seat.row("Mira Okafor").click(button="right")
        page.get_by_role("menuitem", name=choice).click()
    check(page.get_by_role("dialog"))
    page.get_by_label("Nothing").check()
    check(page.get_by_label("Always"))
    page.get_by_role("button", name="Save").click()
    check(seat.row("Mira Okafor").get_by_title("Muted"))
    page.get_by_role("button", name="Menu").click()
    check(page.get_by_role("menu"))
    page.get_by_role("menuitem", name="Your profile").click()
    check(page.get_by_role("dialog"))
    keys.press("Escape")
    seat.choose("Settings")
    page.get_by_role("button", name="Delete account").click()
    check(page.get_by_label("Your password"))
    page.get_by_role("button", name="Connections and blocked people").click()
    check(page.get_by_text("No connections yet"))
    keys.press("Escape")
    for name, found in (
        (mira.name, page.get_by_text(f"@{mira.name}")),
        ("nobody at all", page.get_by_text("Nobody found")),
    ):
        page.get_by_label("Search people and chats").fill(name)
        check(found)
    keys.press("Escape")

    seat.open_chat("Mira Okafor")
    seat.write("never")
    expect(seat.message("never")).to_contain_text("Not sent")
    seat.write("Hello")
    expect(seat.message("Hello")).to_contain_text("Sent")
    expect_accessible(page, *CONDITIONS)
    emulate(page, "forced colours")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    expect(seat.row("Mira Okafor")).not_to_have_css("background-color", paper)
    emulate(page, "light")
    page.get_by_title("Profile").click()
    check(page.get_by_role("dialog", name="Profile").get_by_role("button", name="Connect"))
    page.get_by_role("button", name="Report").click()
    check(page.get_by_label("What is wrong?"))
    keys.press("Escape")
    keys.press("Escape")
    page.get_by_role("button", name="Chat options").click()
    page.get_by_role("menuitem", name="Go to a date").click()
    check(page.get_by_role("dialog"))
    keys.press("Escape")
    seat.message("Third").hover()
    seat.message("Third").get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Reply").click()
    check(page.get_by_text("Reply to Mira Okafor"))
    seat.composer.press_sequentially("@Oka")
    check(page.get_by_role("option"))
    keys.press("Enter")
    keys.type("and @ada: Which one?".replace("ada", ada.name))
    keys.press("Enter")
    expect(seat.message("Which one?").locator(".quote")).to_be_visible()
    check(seat.message("Which one?").locator(".mention.own"))
    seat.composer.press("ArrowUp")
    check(page.get_by_text("Editing a message"))
    page.get_by_role("textbox", name="Text of the edited message").fill("Which?")
    keys.press("Enter")
    seat.message("Which?").get_by_role("button", name="edited").click()
    check(page.get_by_role("dialog").get_by_text("As it was sent"))
    keys.press("Escape")
    seat.message("Which?").hover()
    seat.message("Which?").get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Pin").click()
    check(page.get_by_role("button", name="Pinned message Which?"))
    page.get_by_role("button", name="Pinned messages").click()
    check(page.get_by_role("button", name="Unpin"))
    keys.press("Escape")
    seat.message("Which?").hover()
    seat.message("Which?").get_by_role("button", name="More").click()
    check(page.get_by_role("menuitem", name="Copy text"))
    page.get_by_role("menuitem", name="Forward").click()
    page.get_by_role("dialog").get_by_role("button", name="Mira Okafor").click()
    check(page.get_by_role("button", name="Remove Mira Okafor"))
    page.get_by_role("dialog").get_by_role("button", name="Forward").click()
    check(seat.messages.locator(".forwarded"))
    for text, button, shown in (
        ("Which?", "Delete for everyone", seat.messages.get_by_text("This message was deleted")),
        ("Forwarded", "Delete for me", page.get_by_role("button", name="Undo")),
    ):
        seat.message(text).first.hover()
        seat.message(text).first.get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name="Delete").click()
        check(page.get_by_role("dialog"))
        page.get_by_role("button", name=button).click()
        check(shown)
    third = seat.message("Third")
    third.hover()
    third.get_by_role("button", name="React").click()
    check(page.get_by_role("dialog", name="React with"))
    page.get_by_role("button", name="More emoji").click()
    seedling = page.get_by_role("gridcell", name="seedling", exact=True)
    page.get_by_label("Search emoji").fill("seedling")
    expect(seedling).to_be_visible()
    page.get_by_role("button", name="Skin tone").click()
    check(page.get_by_role("radiogroup"))
    seedling.click()
    chip = page.get_by_role("button", name="🌱")
    check(chip)
    assert chip.evaluate(CHIP_IS_HIT_AT_ITS_EDGE)
    page.evaluate("WebSocket.prototype.send = () => {}; dispatchEvent(new Event('offline'))")
    seat.write("Later")
    expect(seat.message("Later")).to_contain_text("Waiting to send")
    seat.composer.press_sequentially(":he")
    expect(page.get_by_role("option").first).to_be_visible()
    check(page.get_by_text("Reconnecting"))
    page.evaluate(NEW_VERSION)
    check(page.get_by_text("A new version is ready."))


@pytest.mark.slow
def test_no_dialog_of_groups_has_a_violation(platform: Platform, seats: Seats, ada: Account, mira: Account) -> None:
    seat = seats(platform, ada)
    page, keys = seat.page, seat.page.keyboard

    def check(shown: Locator) -> None:
        expect(shown).to_be_visible()
        expect_accessible(page, *CONDITIONS)

    seat.begin_group("Team", mira)
    check(page.get_by_role("button", name="Remove Mira Okafor"))
    page.get_by_role("button", name="Create group").click()
    check(page.get_by_role("heading", name="Team"))
    platform.send(mira, str(seat.row("Team").get_attribute("data-chat")), "Hi")
    seat.write("Hello")
    check(seat.message("Hi").get_by_role("button", name="Mira Okafor"))
    seat.message("Hello").hover()
    seat.message("Hello").get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Seen by").click()
    check(page.get_by_text("Not seen yet"))
    keys.press("Escape")
    page.get_by_title("Group info").click()
    check(page.get_by_role("dialog").get_by_role("button", name="Mira Okafor"))
    for button in ("Edit group", "Add people", "Invite links", "Leave group"):
        page.get_by_role("button", name=button).click()
        check(page.get_by_role("dialog").nth(1))
        keys.press("Escape")
        expect(page.get_by_role("button", name=button)).to_be_focused()
    page.get_by_label("Search members").focus()
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    keys.press("Enter")
    check(page.get_by_role("menuitem", name="Open chat"))
    for steps, shown in ((4, "may do this in the group"), (6, "gets no further messages")):
        for _ in range(steps):
            keys.press("ArrowDown")
        keys.press("Enter")
        check(page.get_by_text(shown))
        keys.press("Escape")
        expect(page.get_by_role("dialog").get_by_role("button", name="Mira Okafor")).to_be_focused()
        keys.press("Enter")
    keys.press("Escape")
    page.get_by_role("button", name="Edit group").click()
    for dialog in (1, 2):
        page.get_by_role("dialog").nth(dialog).get_by_role("button", name="Make it a channel").click()
        check(page.get_by_text("A channel can have 100,000" if dialog == 1 else "This group is a channel"))
    keys.press("Escape")
    check(page.get_by_text("Channel with 2 members"))
    keys.press("Escape")
    expect(page.get_by_title("Group info")).to_be_focused()
    seat.choose("Find groups")
    page.get_by_label("Search public groups").fill("no such group")
    check(page.get_by_text("No group found"))


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


@pytest.mark.slow
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


def test_the_scheme_is_the_system_s(platform: Platform, seats: Seats) -> None:
    seat = seats(platform, color_scheme="dark")
    seat.page.goto(platform.url)
    expect(seat.page.locator("body")).to_have_css("background-color", "rgb(18, 21, 23)")
    seat.page.emulate_media(color_scheme="light")
    expect(seat.page.locator("body")).to_have_css("background-color", "rgb(251, 250, 247)")


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_focus_can_be_seen_at_each_stop_of_the_tab_key_and_leaves_it(chatting: Seat) -> None:
    chatting.open_chat("Mira Okafor")
    expect(chatting.composer).to_be_focused()
    stops: list[str] = []
    while not stops or stops[-1] not in stops[:-1]:
        chatting.page.keyboard.press("Tab")
        stop, is_seen = chatting.page.evaluate(STOP)
        assert is_seen, stop
        stops.append(stop)
    assert stops[-1] == stops[0], "a keyboard trap"
    assert len(stops) > 8
    assert not any(stop.startswith("<a ") for stop in stops), "a link is a stop before its message has the focus"
    chatting.message("First").focus()
    expect(chatting.message("First").get_by_role("button", name="React")).to_be_visible()
    chatting.page.keyboard.press("Tab")
    expect(chatting.page.get_by_role("link", name="https://rookery.test")).to_be_focused()
