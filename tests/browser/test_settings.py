"""Settings and notifications: the choices of a browser, the sign-ins of an account, and what is notified of."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Account, Platform, Seat, Seats
from tests.browser.test_accessibility import expect_named_and_large_controls, expect_no_sideways_scroll
from tools.launch.people import PASSWORD

FAKE_BANNERS = """
const shown = new Map();
const tell = () => (document.documentElement.dataset.banners = [...shown.keys()].join("; "));
globalThis.tones = 0;
globalThis.press = (text) => shown.get(text).onclick();
globalThis.Notification = class {
  static permission = "default";
  static requestPermission = async () => (Notification.permission = "granted");
  constructor(title, { body }) {
    shown.set((this.text = `${title}: ${body}`), this);
    tell();
  }
  close() {
    shown.delete(this.text);
    tell();
  }
};
ServiceWorkerContainer.prototype.getRegistration = async () => undefined;
const { start } = OscillatorNode.prototype;
OscillatorNode.prototype.start = function (at) {
  tones++;
  start.call(this, at);
};
"""
"""A fake of the browser's notifications, which a browser without a screen does not show: their texts are in an
attribute. `tones` counts those of the sound."""


def test_settings_apply_at_once_in_every_tab_and_stay(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    platform.send(mira, ada.chat_with(mira), "Hello")
    seat = seats(platform, ada, size="phone", color_scheme="light")
    page, dark, light = seat.page, "rgb(18, 21, 23)", "rgb(251, 250, 247)"
    seat.choose("Settings")
    expect(page.get_by_text("This browser", exact=True)).to_be_visible()
    expect_named_and_large_controls(page)
    page.get_by_role("radio", name="System").first.focus()
    page.keyboard.press("ArrowLeft")  # to the last
    expect(page.get_by_role("radio", name="Dark")).to_be_checked()
    page.get_by_role("radio", name="Largest").check()
    page.get_by_role("radio", name="12 hours").check()
    expect_no_sideways_scroll(page)
    page.set_viewport_size({"width": 320, "height": 640})
    expect_no_sideways_scroll(page)
    other = seat.tab()
    for tab in (page, other):
        expect(tab.locator("body")).to_have_css("background-color", dark)
        expect(tab.locator("body")).to_have_css("font-size", "20.625px")
        expect(tab.get_by_role("navigation", include_hidden=True).locator("time")).to_have_text(re.compile("[ap]m$"))
    page.get_by_role("radio", name="Light").check()
    for tab in (page, other):
        expect(tab.locator("body")).to_have_css("background-color", light)


def test_other_sign_ins_are_ended_and_the_account_is_deleted_with_its_password(
    platform: Platform, seats: Seats, ada: Account
) -> None:
    here, there = seats(platform, ada, allowed=["401", "403"]), seats(platform, ada, allowed=["401"])
    here.choose("Settings")
    rows = here.page.get_by_role("dialog").get_by_role("listitem")
    expect(rows.filter(has_text="This browser")).to_contain_text("Chrome on Linux")
    rows.filter(has_text="Last seen").filter(has_text="Chrome on Linux").get_by_role("button").click()
    expect(there.page.get_by_text("You have been signed out")).to_be_visible()
    here.page.get_by_role("button", name="End all others").click()
    expect(rows).to_have_count(1)

    here.page.get_by_role("button", name="Delete account").click()
    password, delete = (
        here.page.get_by_label("Your password"),
        here.page.get_by_role("button", name="Delete my account"),
    )
    password.fill("not the password")
    delete.click()
    expect(here.page.get_by_text("The current password is wrong.")).to_be_visible()
    password.fill(PASSWORD)
    delete.click()
    expect(here.page.get_by_role("heading", name="Welcome to Rookery")).to_be_visible()
    here.enter(ada)
    expect(here.page.get_by_text("User name or password is wrong.")).to_be_visible()


def test_a_message_is_notified_of_in_one_tab_unless_it_is_on_the_screen(
    platform: Platform, seats: Seats, ada: Account, mira: Account
) -> None:
    chat_id = ada.chat_with(mira)
    seat = seats(platform)
    seat.context.add_init_script(FAKE_BANNERS)
    seat.begin_chat(ada, mira)
    expect(seat.page.get_by_text("Get a notification")).to_be_hidden()
    seat.write("Are you there?")
    seat.page.get_by_role("button", name="Turn on").click()
    expect(seat.page.get_by_text("Get a notification")).to_be_hidden()
    platform.send(mira, chat_id, "On the screen")
    expect(seat.message("On the screen")).to_be_visible()

    other = seats_tab(seat)
    platform.send(mira, chat_id, "Elsewhere")
    expect(seat.message("Elsewhere")).to_be_visible()
    seat.page.keyboard.press("Escape")
    platform.send(mira, chat_id, "Out of view")
    expect(other.locator("html")).to_have_attribute("data-banners", "Mira Okafor: Out of view")
    assert [tab.evaluate("[document.documentElement.dataset.banners, tones]") for tab in (seat.page, other)] == [
        [None, 0],
        ["Mira Okafor: Out of view", 2],
    ]
    expect(seat.page).to_have_title("(1) Rookery")
    assert "icon-unread" in (seat.page.locator("link[rel=icon]").get_attribute("href") or "")
    other.evaluate("press('Mira Okafor: Out of view')")
    expect(other.locator("rookery-message").filter(has_text="Out of view")).to_be_visible()
    expect(other.locator("html")).to_have_attribute("data-banners", "")
    expect(seat.page).to_have_title("Rookery")


def seats_tab(seat: Seat) -> Page:
    """Another tab of the same browser, which is used last."""
    page = seat.watch(seat.context.new_page())
    page.add_init_script("Notification.permission = 'granted'")
    page.goto(seat.platform.url)
    expect(page.get_by_role("navigation").get_by_role("button", name="Mira Okafor")).to_be_visible()
    return page
